"""Parts of make_demo_head.py: a scripted performance, a mesh renderer, four dataset layouts."""
