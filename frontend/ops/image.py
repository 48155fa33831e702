"""Images: resizing, cropping, colour."""
