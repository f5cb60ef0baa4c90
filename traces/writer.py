"""stub"""
def stop(): pass
