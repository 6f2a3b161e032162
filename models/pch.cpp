// Carrier of the precompiled ATen/ATen.h that every other library reuses.
