// Connect to WebSocket
const socket = new WebSocket('ws://localhost:8000/ws/notifications/');

// Listen for notifications
socket.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.type === 'notification') {
        // Handle new notification
        showNotification(data.notification);
    } else if (data.type === 'role_notification') {
        // Handle role-based notification
        showRoleNotification(data.notification);
    } else if (data.type === 'system_message') {
        // Handle system message
        showSystemMessage(data.message);
    }
};

// Send ping to keep connection alive
setInterval(() => {
    if (socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({ type: 'ping' }));
    }
}, 30000);
