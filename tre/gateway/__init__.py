"""The door: HTTP between the desk and the secure area. It reaches the secure side through services only."""
