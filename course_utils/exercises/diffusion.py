"""Questions of 05b_diffusion."""
