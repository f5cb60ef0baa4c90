"""
What the model knows of jokes and poems. The topic chooses the text, so the same topic always gets the same one.
"""

import zlib
from collections.abc import Sequence

LONGEST_TOPIC = 80  # a joke repeats its topic; it need not repeat a novel

JOKES_BY_TOPIC = {
    "cat": "Why did the cat sit on the keyboard? It wanted to keep a paw on the mouse.",
    "parrot": "I asked my parrot to review my code. It approved every line, word for word.",
    "bear": "A bear walks into a café and says: I'd like a coffee ... and a cake. "
    "Why the big pause? asks the waiter. I was born with them, says the bear.",
    "python": "Why did the Python programmer never get lost? Every wrong turn was caught by an except.",
    "django": "Why do Django developers make calm travellers? They never leave without their migrations.",
    "programmer": "A programmer's partner says: buy a loaf, and if they have eggs, take six. "
    "The programmer comes home with six loaves. They had eggs.",
    "computer": "Why was the computer late for work? It had a hard drive.",
    "agent": "I gave my agent one tool. Now it thinks every question is a calculator.",
    "database": "A query walks up to two tables in a bar and asks: may I join you?",
}

JOKES = (
    "I was going to tell you a joke about {topic}, but it is still being peer reviewed by its subject.",
    "How many experts on {topic} does it take to change a light bulb? Two: one to change it, and one to say it was better before.",
    "My doctor told me to stop thinking about {topic}. I asked for a second opinion. He said: also stop asking about {topic}.",
    'I bought a book called "Everything About {topic}". The last page says: to be continued.',
    "What do you get when you cross {topic} with a rule-based language model? This joke, every single time.",
    "A conference on {topic} was cancelled today. Both attendees had a cold.",
    "They say {topic} can't make anyone laugh. They have never seen me explain it.",
    "I have two jokes about {topic}. The other one is better, but you would need another topic to hear it.",
)

POEMS = (
    "In morning light I thought of {topic},\nand wrote the thought upon a leaf;\n"
    "the wind came by and read it softly,\nand found the poem rather brief.",
    "Some sing of roses, some of rain,\nof ships, of stars, of distant lands;\n"
    "but I return to {topic} again\nand hold a small line in my hands.",
    "O {topic}, who could tell you all,\nyour quiet hours, your bright parade?\n"
    "I tried to fit you in a scroll:\nthe scroll was short. The song has stayed.",
    "When evening folds the day away\nand every screen has gone to sleep,\n"
    "it is of {topic} that I say\nthe only words I mean to keep.",
)


def joke_about(topic: str) -> str:
    name = topic.casefold().removesuffix("s")
    return JOKES_BY_TOPIC.get(name) or chosen(JOKES, topic)


def poem_about(topic: str) -> str:
    return chosen(POEMS, topic)


def chosen(texts: Sequence[str], topic: str) -> str:
    # Not hash(): Python salts it anew in every process.
    number = zlib.crc32(topic.casefold().encode("utf-8", "replace"))
    return texts[number % len(texts)].format(topic=topic)


def clean_topic(text: str) -> str:
    return text.strip(" \t\n.!?\"'")[:LONGEST_TOPIC] or "nothing at all"
