# Enable debug logging
import logging
logging.getLogger('notification_service').setLevel(logging.DEBUG)

# Test WebSocket connection
import websocket
ws = websocket.create_connection('ws://localhost:8000/ws/notifications/')
ws.send('{"type": "ping"}')
response = ws.recv()
print(response)
ws.close()
