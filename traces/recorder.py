"""stub"""


def recorder_of(call):
    return None


def find(run_id):
    return None
