from runnables import register
from tests.configured import broken, settings, spoken

register("it", settings(), access="public")
register("two", settings(), access="public")
register("tone", spoken(), access="public")
register("broken", broken, access="public")
