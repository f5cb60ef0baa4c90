"""stub"""


def stop():
    pass
