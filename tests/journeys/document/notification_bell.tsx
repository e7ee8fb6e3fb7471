import { useNotifications } from '../hooks/use-notifications';

function NotificationBell() {
    const { notifications, unreadCount, markAsRead } = useNotifications();
    
    return (
        <div className="notification-bell">
            <span className="badge">{unreadCount}</span>
            <div className="notifications-dropdown">
                {notifications.map(notification => (
                    <div 
                        key={notification.id} 
                        className={`notification-item ${notification.is_read ? 'read' : 'unread'}`}
                        onClick={() => markAsRead(notification.id)}
                    >
                        <h4>{notification.title}</h4>
                        <p>{notification.message}</p>
                        <small>{new Date(notification.created_at).toLocaleDateString()}</small>
                    </div>
                ))}
            </div>
        </div>
    );
}
