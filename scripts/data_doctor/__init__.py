"""What scripts/check_data.py looks for in a scene, and what it draws."""
