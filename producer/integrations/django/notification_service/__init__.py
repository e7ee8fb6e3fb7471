"""The modules of the package `notification_service`, as code written for the earlier system imports them.

The file `notification_service.py` at the top makes this folder that package.
"""
