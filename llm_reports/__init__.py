"""Report text in, validated descriptors and descriptions out. Knows neither nnU-Net nor the generator."""
