"""Layers that several parts share: convolutions, norms, attention, RoIAlign, upsampling, pooling."""
