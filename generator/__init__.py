"""Text-driven latent diffusion of tumors in CT (TextoMorph, section III-B). Standalone: knows nothing of nnU-Net."""
