"""Questions of 05c_quality_control."""
