"""Steps ⑥ and ⑦ on the way of an event: browsers connect, read and confirm here.

The REST doors, the WebSockets and the pages. Imports `shared` only; it never plans nor stores a
notification.
"""
