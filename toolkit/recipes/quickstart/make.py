#!/usr/bin/env python3
"""Writes train.tsv and test.tsv: short messages to a web shop, in four classes.

The class of a message is the problem that its writer wants solved: `billing`, `delivery` or
`technical`. It is `praise` if there is no problem left. Many messages also mention another matter
that is fine ("the parcel came on time but you charged my card twice"), so the words alone do not
determine the class.

A quarter of all phrases is kept out of the training rows, and every test row has at least one of
them. The output depends on this file only.
"""

import random
import re
from pathlib import Path

SEED = 20
ROWS = {"train": 1560, "test": 400}
WORDS = range(4, 26)
# Share of the phrases that only test rows have, and how often a test row takes one of them.
KEPT_OUT = 0.25
FROM_KEPT_OUT = 0.35

# Words that replace {a name} in a phrase. All of them may occur in training.
SLOTS = {
    "item": "lamp|kettle|rucksack|desk|headset|blender|jacket|camera|rug|bookshelf|toaster|"
    "drill|mattress|tent|watch|coffee grinder|monitor|bicycle pump|clock|suitcase|plant pot|"
    "keyboard|speaker|umbrella|frying pan",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|yesterday|last night|this morning|"
    "last week|two days ago|at the weekend|on the 3rd|on the 14th",
    "money": "12 euros|30 pounds|4.99|20 dollars|80 euros|15 pounds|9.50|over 100 dollars|"
    "59 euros|some 40 pounds",
    "n": "two|three|four|five|six|ten",
    "device": "phone|tablet|laptop|old iPad|work computer|Android|browser",
    "carrier": "courier|driver|postman|delivery man|carrier",
    "parcel": "parcel|package|order|box|shipment",
    "who": "neighbour|sister|husband|mother|flatmate|colleague",
}

# Problems.
BAD = {
    "billing": """
you charged my card twice for the {item}
I was billed {money} more than the price on the page
the invoice shows a fee that nobody told me about
my refund for the {item} has still not arrived
the discount code was accepted but the full price was taken
I cancelled the subscription and you still took {money} {day}
the tax on my receipt is wrong
you debited an account that I closed years ago
I paid by bank transfer and still get reminders
the invoice has the wrong company name on it
my statement lists {money} from you that I never agreed to
the gift card balance dropped to zero and I bought nothing
I was promised my money back {n} weeks ago and saw nothing
the monthly rate went up without a word
you refunded only half of what I paid
I am asked to pay a bill that I settled {day}
a late fee was added although I paid in time
the sum on the receipt does not match what left my account
my credit note was never applied
the delivery fee was taken twice
you charged me for express shipping that I did not choose
I was billed for the {item} that I returned
the free trial turned into a paid plan without asking me
the exchange rate on my bill makes no sense
I have been overcharged by {money}
somebody in your office booked my payment to another customer
you want {money} for a repair that the guarantee covers
the price in the basket was lower than what I paid
the instalment was taken {n} days early
your reminder threatens me with collectors over {money}
my voucher was counted as cash and I lost {money}
there is a charge of {money} that I do not recognise
the annual fee was drawn twice {day}
the student rebate is missing from my bill
you keep invoicing me for a plan I left
I need a corrected invoice for the {item}
the deposit for the {item} has not been given back
my payment for the app subscription was taken {n} times
you took the money for the {item} before it was even sent
the refund went to the wrong card
no invoice came with the {parcel} and my office needs one
I pay for premium and was billed for it again
my bank has blocked your second debit
the error in my bill from {day} is still there
VAT was added twice on the invoice
the money for the missing {item} was never returned
the search for a cheaper plan left me with two contracts to pay
the app said free and my statement says {money}
the invoice for the support call is far too high
the return was free of charge according to you and now I owe {money}
""",
    "delivery": """
my {parcel} has not arrived
the {parcel} has been sitting in the depot for {n} days
the {carrier} left the {item} in the rain
somebody else signed for my {parcel}
you sent a {item} instead of the {item2}
the box was crushed and the {item} is broken
the {item} never turned up
tracking says delivered but there is nothing at my door
it was supposed to be here {day}
the {carrier} threw the {parcel} over the fence
half of my order is missing
the {parcel} went to my old address
I waited at home all day and nobody rang
the {parcel} was sent back without a single attempt
the {item} came in the wrong colour
my order has been stuck in customs for {n} weeks
the seal was open and the {item} gone
no one has told me when the {item} will be dispatched
the delivery window was missed for the third time
the {carrier} claims that I was not in
the shipping date moved again
the pick-up point had closed when the {parcel} got there
one of the {n} packages is lost
the {item} was scratched when I unpacked it
you shipped it to the wrong country
the note says it is with a {who} and the {who} knows nothing
my express order took {n} weeks
the {parcel} arrived empty
the {carrier} refuses to carry the {item} upstairs
it has said out for delivery since {day}
the legs of the {item} were not in the box
the {parcel} that I paid extra for came late
the {item} got wet on its way
the label had another name on it, and I got a stranger's {item}
nobody picked up the return {day}
the van drove past my house without stopping
the {item} you charged me for is still in your warehouse
the replacement {item} has not been sent
my gift reached my {who} {n} days after the birthday
next-day delivery took {n} days
I found the {parcel} open on the stairs
the {item} has been on its way since {day}
the {carrier} rang at the wrong house and left
only one shoe of the pair was in the {parcel}
the glass of the {item} arrived in pieces
the {parcel} has gone missing between two depots
nobody brought the {item} although I took a day off for it
the app says delivered and my doorstep is empty
I paid for the lift to the third floor and the {item} stands in the yard
the {parcel} lay in front of the door for everybody to take
""",
    "technical": """
the app crashes as soon as I open it
I cannot log in on my {device}
the page stays blank after I press pay
the password mail never comes
the site is unbearably slow on my {device}
the checkout freezes at the last step
the search finds nothing, whatever I type
the new version deletes my basket every time
the map with the parcel tracking does not load
I get error 50{d} when I upload a photo
the {item} does not connect to my {device}
the buttons do nothing on my {device}
since the update the screen flickers
my account page shows the orders of a stranger
notifications come {n} times each
the download of my invoice ends in an error message
the login code is rejected as expired
the form loses everything when I go back
the firmware of the {item} will not install
the app drains the battery of my {device}
the card number field does not take the last digit
the page keeps jumping to the top
the {item} switches itself off after {n} minutes
I am logged out every {n} minutes
the address form insists that my street does not exist
pictures in the shop do not show any more
the dark mode makes the text invisible
the barcode scanner in the app sees nothing
sync between my {device} and the website is broken
the filter by price sorts the wrong way round
the chat window closes in the middle of a sentence
the link in your mail leads nowhere
the {item} no longer holds a charge
the app says no network although everything else is online
the voucher page throws an exception
I cannot change the language back
the sound is gone on every video
the payment screen spins for ever
the delivery calendar shows dates of last year
the settings reset themselves {day}
the search box ignores what I type
the calendar in the app is empty
the order history does not open on my {device}
the invoice page gives me an error
typing is so slow that letters get lost
the courier chat shows an error message
the price list will not scroll
the {item} loses its wireless connection every {n} minutes
the tracking page is full of broken symbols
the video on the help page has no picture
""",
}

# Matters that are fine, or fine again.
GOOD = {
    "billing": """
the refund arrived
the invoice is correct
the payment went through at once
the price was fair
the discount was taken off as promised
my money was back within {n} days
the receipt came right away
the double charge was cancelled
paying by card was easy
the bill is as low as you said
the credit is on my account
the fee was waived
I have no complaint about the price
the voucher worked
my bank confirms the {money}
the billing mistake has been put right
""",
    "delivery": """
the parcel came on time
the {item} arrived {day}
the {carrier} was friendly
shipping was quick
the box was packed well
the delivery itself was perfect
the missing piece turned up
the {item} got here a day early
the replacement reached me safely
the {carrier} even carried it upstairs
the tracking was accurate
my {who} got the {parcel} without trouble
the return was picked up {day}
everything was in the box
the late {parcel} is here now
nothing was damaged
""",
    "technical": """
the app works again
the website is easy to use
logging in is no problem
the update fixed the crash
the {item} runs perfectly
the new version is fast
the order form is clear
the {item} paired with my {device} in seconds
the search is great
the error message is gone
the page loads quickly
the screen no longer freezes
the set-up took {n} minutes
the password reset worked
my {device} shows everything as it should
the bug that I reported is fixed
""",
}

# Requests.
ASK = {
    "billing": """
please send the money back
can you correct the invoice
when will I get my refund
who can explain this charge to me
please stop taking money from my account
I want a receipt with the right amount
could you tell me what the {money} are for
please cancel the payment
how do I change the card that you bill
can I pay in {n} instalments instead
why is my bill so high this month
what does the extra fee stand for
I would like to be reimbursed
do you take gift cards for the rest of the sum
please split the invoice for our accounts department
""",
    "delivery": """
where is my {parcel}
when will the {item} arrive
can you send it to another address
please find out what the {carrier} did with it
I need it before the weekend
could you ship the missing part
please send somebody to collect the wrong {item}
can the {carrier} come after six
has it left the warehouse yet
is there a way to pick the {item} up myself
please tell me which depot it is in
can I still change the delivery date
how long does shipping to an island take
will the {carrier} ring before he comes
I want a new one sent at once
""",
    "technical": """
please fix the login
how do I reset the {item}
can you unlock my account
which version of the app runs on an older {device}
is the server down
how can I delete the cache
please repair the website
what does this error mean
do I have to install it again
could an engineer look at it
how do I connect the {item} to my {device}
can you send me a working link
is there a driver for my {device}
where do I switch off the notifications
tell me how to get the old version back
""",
}

PRAISE = """
thank you so much
you have a wonderful team
I am delighted with the {item}
best shop I know
five stars from me
that was excellent service
your colleague on the phone was so patient
I will certainly order again
I could not be happier
what a pleasant surprise
my {who} loves the {item}
the {item} is even nicer than in the picture
keep up the good work
I have already told my {who} about you
you saved my day
I have rarely been helped so fast
everything just worked
the handwritten note made me smile
a big compliment to everybody involved
this is how customer care should be
I am impressed
hats off to your support
what lovely people you are
you really listened
the quality of the {item} is superb
very satisfied, as always
such a beautiful {item}
it went smoothly from beginning to end
you kept your word
I am grateful for the quick answer
nothing to complain about at all
your advice on the {item} was spot on
a joy to deal with you
I am a happy customer
you exceeded my hopes
the whole family adores it
simply perfect
I recommend you to everyone
it was worth every penny
you made a difficult week easier
"""

# Fears and old problems that are over.
OVER = """
I was worried about {topic} for nothing
my question about {topic} was answered within the hour
after my complaint about {topic} you reacted at once
you sorted out {topic} in no time
I had expected trouble with {topic} and there was none
all my doubts about {topic} have vanished
my {who} had warned me about {topic}, quite wrongly
the mess with {topic} is over
"""

TOPIC = {
    "billing": "the invoice|the refund|my payment|the double charge|the fees|the price",
    "delivery": "the shipping|the late parcel|the courier|the broken box|the delivery|my lost order",
    "technical": "the app|the login|the website|the error|the update|the crash",
}

# Phrases that set the other matter aside.
ASIDE = """
this is not about {topic}
forget {topic}, that is settled
I do not mind {topic}
{topic} is another story
I wrote to you about {topic} before, now there is something else
never mind {topic}
"""

KIND = """
I like your shop
normally I am quite happy with you
the {item} itself is beautiful
your staff is friendly
you were always reliable
I know you are busy
I really wanted to love this
great selection, I must say
usually everything works
no hard feelings
"""

# Openings, endings and connectives.
OPEN = """
hello|hi there|good morning|dear team|hi|good evening|excuse me|to whom it may concern|hey|
dear support|just a short note|quick message
"""
CLOSE = """
please help|thanks in advance|I look forward to your answer|kind regards|please get back to me|
I am quite annoyed|this is urgent|what now|it is the second time|any idea|sort this out please|
I have the order number at hand|I am a customer of {n} years|that cannot be right
"""
CHEERS = """
thanks again|all the best|see you soon|greetings from my {who}|go on like that|bravo|
with kind regards|have a nice day|wonderful
"""
BUT = """
, but |. However, |; unfortunately |, yet |. Sadly |, only |. Still, |, except that |. The trouble: 
"""
THOUGH = """
, although |, even though |, and yes, | while |. True, |, and that although 
"""
AND = """
, and | and |. |; |, also |. Besides, 
"""

# Whether a text ends in a question.
QUESTION = r"(^|[.,;:] |\band |\balso )(can|could|when|where|who|why|what (does|now)|which version|how|is|has|do|will|any)\b[^.,;:]*$"

TEXT_SPEAK = {"please": "pls", "you": "u", "are": "r", "thanks": "thx", "because": "cuz",
              "tomorrow": "tmrw", "cannot": "cant", "does not": "doesnt", "have": "hav"}


class Phrases:
    """List of phrases, some of which are kept out of training."""

    def __init__(self, rng, text, between="\n"):
        # The ends of a connective matter.
        every = [p.strip("\n") for p in text.strip("\n").split(between)]
        every = [p if between == "|" and p != p.strip() else p.strip() for p in every]
        self.all = [p for p in every if p.strip()]
        assert len(set(self.all)) == len(self.all)
        n = round(KEPT_OUT * len(self.all))
        kept_out = set(rng.sample(self.all, n))
        self.kept_out = [p for p in self.all if p in kept_out]
        self.known = [p for p in self.all if p not in kept_out]


class Writer:
    """Makes rows."""

    def __init__(self, rng, test):
        self.rng, self.test, self.new = rng, test, 0

    def one(self, phrases):
        """Draws a phrase, and counts phrases that are kept out of training."""
        if self.test and self.rng.random() < FROM_KEPT_OUT:
            self.new += 1
            return self.rng.choice(phrases.kept_out)
        return self.rng.choice(phrases.known)

    def maybe(self, chance, text):
        return text() if self.rng.random() < chance else ""

    def fill(self, text, topic=None):
        """Fills the slots in."""
        if topic:
            text = text.replace("{topic}", self.rng.choice(TOPIC[topic].split("|")))
        # A person that comes twice is the same one.
        text = text.replace("{who}", self.rng.choice(SLOTS["who"].split("|")))
        item, item2 = self.rng.sample(SLOTS["item"].split("|"), 2)
        text = text.replace("{item}", item, 1).replace("{item2}", item2)
        text = text.replace("{d}", self.rng.choice("0234"))
        return re.sub(r"\{(\w+)\}", lambda m: self.rng.choice(SLOTS[m[1]].split("|")), text)

    def problem(self, topic, lists):
        """Makes a message about a problem."""
        other = self.rng.choice([t for t in BAD if t != topic])
        bad = self.fill(self.one(lists["bad", topic]))
        ask = lambda: self.fill(self.one(lists["ask", topic]))
        good = lambda: self.fill(self.one(lists["good", other]))
        kind = self.rng.choices(range(8), [16, 14, 24, 18, 10, 12, 8, 8])[0]
        if kind == 0:
            body = bad
        elif kind == 1:
            body = bad + self.one(lists["and"]) + ask()
        elif kind == 2:
            body = good() + self.one(lists["but"]) + bad
        elif kind == 3:
            body = bad + self.one(lists["though"]) + good()
        elif kind == 4:
            body = ask()
        elif kind == 5:
            body = self.fill(self.one(lists["kind"])) + self.one(lists["but"]) + bad
        elif kind == 6:
            body = self.fill(self.one(lists["aside"]), other) + self.rng.choice([". ", ": ", ", "]) + bad
        else:
            body = good() + self.rng.choice([", but ", ". However, ", ". My question: "]) + ask()
        body = self.maybe(0.2, lambda: self.one(lists["open"]) + ", ") + body
        return body + self.maybe(0.2, lambda: self.rng.choice([". ", ", "]) + self.fill(self.one(lists["close"])))

    def praise(self, lists):
        """Makes a message without an open problem."""
        a, b = self.rng.sample(sorted(BAD), 2)
        praise = lambda: self.fill(self.one(lists["praise"]))
        good = lambda t: self.fill(self.one(lists["good", t]))
        joint = lambda: self.rng.choice([", ", ". ", " and ", "; "])
        kind = self.rng.choices(range(6), [14, 20, 20, 16, 20, 10])[0]
        if kind == 0:
            body = praise() + joint() + praise()
        elif kind == 1:
            body = good(a) + joint() + praise()
        elif kind == 2:
            body = good(a) + " and " + good(b) + joint() + praise()
        elif kind == 3:
            body = praise() + joint() + good(a)
        elif kind == 4:
            body = self.fill(self.one(lists["over"]), a) + joint() + praise()
        else:
            body = praise()
        body = self.maybe(0.2, lambda: self.one(lists["open"]) + ", ") + body
        return body + self.maybe(0.2, lambda: self.rng.choice([". ", ", "]) + self.fill(self.one(lists["cheers"])))

    def type_it(self, text):
        """Imitates typing: case, ending, slips."""
        text = re.sub(r"([.:] )(\w)", lambda m: m[1] + m[2].upper(), text)
        if self.rng.random() < 0.65:
            text = text[0].upper() + text[1:]
        elif self.rng.random() < 0.5:
            text = text.lower()
        if self.rng.random() < 0.08:
            for word, short in TEXT_SPEAK.items():
                text = re.sub(rf"\b{word}\b", short, text)
        if self.rng.random() < 0.15:
            text = self.slip(text)
        if re.search(QUESTION, text, re.I) and self.rng.random() < 0.7:
            return text + "?"
        return text + self.rng.choices([".", "", "!", "..."], [50, 35, 10, 5])[0]

    def slip(self, text):
        """Changes one letter of one longer word."""
        long = [m for m in re.finditer(r"[a-z]{5,}", text)]
        if not long:
            return text
        word = self.rng.choice(long)
        i = word.start() + self.rng.randrange(1, len(word[0]) - 1)
        wrong = self.rng.choice([text[i + 1] + text[i], text[i + 1], text[i] * 2 + text[i + 1]])
        return text[:i] + wrong + text[i + 2 :]


def phrases(rng):
    """Returns all lists by name."""
    lists = {}
    for name, table in (("bad", BAD), ("good", GOOD), ("ask", ASK)):
        for topic, text in table.items():
            lists[name, topic] = Phrases(rng, text)
    for name, text in (("praise", PRAISE), ("over", OVER), ("aside", ASIDE), ("kind", KIND)):
        lists[name] = Phrases(rng, text)
    for name, text in (("open", OPEN), ("close", CLOSE), ("cheers", CHEERS), ("but", BUT),
                       ("though", THOUGH), ("and", AND)):
        lists[name] = Phrases(rng, text, "|")
    return lists


def rows(rng, lists, test, n, seen):
    """Makes `n` rows, the classes in turn, without those in `seen`."""
    labels = sorted([*BAD, "praise"])
    made = []
    while len(made) < n:
        label = labels[len(made) % len(labels)]
        writer = Writer(rng, test)
        body = writer.praise(lists) if label == "praise" else writer.problem(label, lists)
        text = writer.type_it(body)
        key = re.sub(r"\W+", " ", text.lower()).strip()
        if len(text.split()) not in WORDS or key in seen or (test and not writer.new):
            continue
        seen.add(key)
        made.append((text, label))
    rng.shuffle(made)
    return made


def main():
    rng = random.Random(SEED)
    lists = phrases(rng)
    seen = set()
    for name, n in ROWS.items():
        made = rows(rng, lists, name == "test", n, seen)
        lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in made)]
        path = Path(__file__).parent / f"{name}.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
