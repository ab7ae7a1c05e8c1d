"""The page that shows in a browser what the device hears: read-only, for whoever reaches its port."""
