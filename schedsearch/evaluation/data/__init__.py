"""Sets of samples, and the images in them."""
