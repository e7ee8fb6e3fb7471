// Get user notifications
const response = await fetch('/api/notifications/notifications/');
const notifications = await response.json();

// Mark notification as read
await fetch(`/api/notifications/notifications/${id}/read/`, {
    method: 'POST',
    headers: { 'Authorization': `Bearer ${token}` }
});

// Get unread count
const unreadResponse = await fetch('/api/notifications/notifications/unread-count/');
const unreadCount = await unreadResponse.json();

// Search notifications
const searchResponse = await fetch('/api/notifications/notifications/search/?q=stage');
const searchResults = await searchResponse.json();
