"""placeholder"""
def why_not(device):
    return None
