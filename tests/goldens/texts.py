"""The sentences of the model goldens: written for this project, short and long, plain and odd."""

_RAMBLE = (
    "the first hour is slow and the second hour is slower , the third act tries to be a thriller , "
    "a romance and a comedy and fails at all three , and when the ending finally comes it is not an "
    "ending but an excuse for a sequel that nobody in the theatre wanted to see . "
)

TEXTS = [
    "",
    " ",
    "a",
    "good .",
    "bad !",
    "not bad",
    "not good , not bad , just there .",
    "A charming little film with a warm heart and a clever script.",
    "The plot is a mess, the jokes fall flat and the ending makes no sense.",
    "I laughed, I cried, and then I went home and watched it again.",
    "Tedious from the opening line to the last frame.",
    "Somehow both too long and too short.",
    "The director never trusts the audience to think.",
    "It's the kind of story you forget before you reach the door.",
    "A tender portrait of two sisters who cannot speak to each other.",
    "Ten out of ten; would cry into a stranger's coat again!",
    "0/10, I want my 119 minutes back.",
    "The café scene — all naïve façade and déjà vu — is superb.",
    "ÀÉÎÕÜ àéîõü ñ ç ø å ß",
    "e\u0301tude in cafe\u0301 colours",
    "这部电影很好",
    "映画はとても良かった、でも長い。",
    "영화가 지루했다",
    "фильм был скучный",
    "الفيلم جميل جدا",
    "loved it 😍😍 would watch again 👍🏽",
    "👩‍👩‍👧‍👦 movie night!",
    "tabs\tand\nnewlines\r\nand\u00a0hard\u2003spaces",
    "UPPER CASE PRAISE FOR A MOVING FILM",
    "mIxEd CaSe complaints about a StUnNiNg bore",
    "unbelievablyoverlongandundercookedmoviethatneverendsandneverbegins",
    "x" * 150,
    "wait... what?! (really) [no] {yes} <b>bold</b> & \"quoted\" 'single' `tick`",
    "[CLS] the film [SEP] is [MASK] . [PAD]",
    "visit https://example.org/reviews?id=42&sort=best#top for more",
    "1 22 333 4,444 55.55 -66% $77 #88 @99",
    "the the the the the the the the",
    _RAMBLE,
    _RAMBLE * 3,
    "good " * 126,
    "good " * 127,
    "bad , " * 400,
]
