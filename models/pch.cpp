// Carrier of the precompiled torch/torch.h that every other library reuses.
