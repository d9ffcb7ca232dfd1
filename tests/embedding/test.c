/* Tests every function of edge_distil.h with valid and invalid arguments: test MODEL, an int8 model.edge with
 * an exit after every stage. A failure prints its line, and the status is then 1. */

#include "edge_distil.h"
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *model;
static int failures;

#define CHECK(what) ((what) ? (void)0 : fail(__LINE__, #what, NULL))
/* Checks that a call gives a status, and a message that contains some words. */
#define GIVES(expected, words, call) gives(__LINE__, expected, words, (blank(), call))

static EdgeError error;

static void fail(int line, const char *what, const char *message) {
    fprintf(stderr, "test.c:%d: %s%s%s\n", line, what, message ? ": " : "", message ? message : "");
    failures++;
}

static void blank(void) { memset(&error, 0x55, sizeof error); }

static void gives(int line, EdgeStatus expected, const char *words, EdgeStatus status) {
    if (status != expected) fail(line, "another status", status ? error.message : "OK");
    if (status == EDGE_STATUS_OK) return;
    if (!memchr(error.message, 0, sizeof error.message)) fail(line, "a message without an end", NULL);
    else if (error.status != status) fail(line, "the error has another status", NULL);
    else if (!strstr(error.message, words)) fail(line, words, error.message);
}

static EdgeClassifier *opened(void) {
    EdgeClassifier *classifier = NULL;
    GIVES(EDGE_STATUS_OK, "", edge_open(model, &classifier, &error));
    if (!classifier) exit(1);
    return classifier;
}

static uint8_t *bundle(size_t *length) {
    FILE *file = fopen(model, "rb");
    if (!file) exit(1);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*length);
    if (fread(bytes, 1, *length, file) != *length) exit(1);
    fclose(file);
    return bytes;
}

static int same(const EdgePrediction *a, const EdgePrediction *b) {
    return !strcmp(a->label, b->label) && a->index == b->index && a->probability == b->probability &&
           a->stage == b->stage && a->tokens == b->tokens && a->truncated == b->truncated;
}

static void opening(void) {
    EdgeClassifier *c = (EdgeClassifier *)&failures;
    GIVES(EDGE_STATUS_ARGUMENT, "`path` is NULL", edge_open(NULL, &c, &error));
    CHECK(c == NULL);
    GIVES(EDGE_STATUS_ARGUMENT, "is NULL", edge_open(model, NULL, &error));
    GIVES(EDGE_STATUS_IO, "/no/such/file", edge_open("/no/such/file", &c, &error));
    GIVES(EDGE_STATUS_IO, "cannot read", edge_open("/", &c, &error));
    GIVES(EDGE_STATUS_IO, "/no/such/file", edge_open_mapped("/no/such/file", &c, &error));
    GIVES(EDGE_STATUS_BUNDLE, "breaks off", edge_open("/dev/null", &c, &error));
    CHECK(edge_open("/no/such/file", &c, NULL) == EDGE_STATUS_IO);

    /* A message longer than its array is cut between two characters. */
    char path[1201] = "";
    for (int i = 0; i < 600; i++) strcat(path, "é");
    GIVES(EDGE_STATUS_IO, "cannot read é", edge_open(path, &c, &error));
    size_t length = strlen(error.message);
    CHECK(length >= sizeof error.message - 2 && !strcmp(error.message + length - 2, "é"));

    c = opened();
    CHECK(edge_labels(c) == 2 && !strcmp(edge_label(c, 0), "NEGATIVE"));
    CHECK(!strcmp(edge_label(c, 1), "POSITIVE") && !edge_label(c, 2));
    CHECK(edge_exits(c) == 4 && edge_max_tokens(c) == 128);
    edge_close(c);
    edge_close(NULL);
    CHECK(!edge_labels(NULL) && !edge_label(NULL, 0) && !edge_exits(NULL) && !edge_max_tokens(NULL));
    CHECK(strchr(edge_version(), '.') != NULL);
}

static void memory(void) {
    size_t length;
    uint8_t *bytes = bundle(&length);
    EdgeClassifier *c;
    GIVES(EDGE_STATUS_ARGUMENT, "`bytes` is NULL", edge_open_memory(NULL, 1, &c, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "more than memory", edge_open_memory(bytes, SIZE_MAX, &c, &error));
    GIVES(EDGE_STATUS_BUNDLE, "manifest.json", edge_open_memory(NULL, 0, &c, &error));
    const size_t cuts[] = {1, 511, 512, 1000, length / 2, length - 1024, length - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        /* A separate allocation, so that a read behind the end is detected. */
        uint8_t *cut = malloc(cuts[i]);
        memcpy(cut, bytes, cuts[i]);
        GIVES(EDGE_STATUS_BUNDLE, "breaks off", edge_open_memory(cut, cuts[i], &c, &error));
        CHECK(c == NULL);
        free(cut);
    }
    bytes[length / 2] ^= 1;
    GIVES(EDGE_STATUS_BUNDLE, "damaged", edge_open_memory(bytes, length, &c, &error));
    bytes[length / 2] ^= 1;
    GIVES(EDGE_STATUS_OK, "", edge_open_memory(bytes, length, &c, &error));
    EdgePrediction p;
    GIVES(EDGE_STATUS_OK, "", edge_classify(c, "good", 4, NULL, &p, NULL, &error));
    edge_close(c);
    free(bytes);
}

typedef struct {
    const uint8_t *bytes;
    size_t length, at, piece, fail_at, lie_at;
} Source;

static ptrdiff_t pull(void *context, uint8_t *buffer, size_t capacity) {
    Source *s = context;
    if (s->at >= s->fail_at) return -5;
    if (s->at >= s->lie_at) return (ptrdiff_t)capacity + 1;
    size_t n = s->length - s->at;
    if (n > capacity) n = capacity;
    if (n > s->piece) n = s->piece;
    memcpy(buffer, s->bytes + s->at, n);
    s->at += n;
    return (ptrdiff_t)n;
}

static void reader(void) {
    size_t length;
    uint8_t *bytes = bundle(&length);
    EdgeClassifier *c;
    GIVES(EDGE_STATUS_ARGUMENT, "`read` is NULL", edge_open_reader(NULL, NULL, &c, &error));
    const size_t pieces[] = {1, 777, SIZE_MAX};
    for (int i = 0; i < 3; i++) {
        Source s = {bytes, length, 0, pieces[i], SIZE_MAX, SIZE_MAX};
        GIVES(EDGE_STATUS_OK, "", edge_open_reader(pull, &s, &c, &error));
        CHECK(s.at == length);
        edge_close(c);
    }
    Source failing = {bytes, length, 0, 777, length / 2, SIZE_MAX};
    GIVES(EDGE_STATUS_IO, "-5", edge_open_reader(pull, &failing, &c, &error));
    Source lying = {bytes, length, 0, 777, SIZE_MAX, length / 2};
    GIVES(EDGE_STATUS_IO, "wrote", edge_open_reader(pull, &lying, &c, &error));
    Source cut = {bytes, length / 2, 0, 777, SIZE_MAX, SIZE_MAX};
    GIVES(EDGE_STATUS_BUNDLE, "breaks off", edge_open_reader(pull, &cut, &c, &error));
    CHECK(c == NULL);
    free(bytes);
}

static void classifying(void) {
    EdgeClassifier *c = opened(), *mapped = NULL;
    GIVES(EDGE_STATUS_OK, "", edge_open_mapped(model, &mapped, &error));
    const char *texts[] = {"good .", "", "a bad movie and a good one"};
    EdgePrediction many[3], one, again;
    float all[6], two[2];
    GIVES(EDGE_STATUS_OK, "", edge_classify_many(c, texts, NULL, 3, NULL, many, all, &error));
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(texts[i]), tokens;
        uint32_t ids[128];
        GIVES(EDGE_STATUS_OK, "", edge_classify(c, texts[i], length, NULL, &one, two, &error));
        CHECK(same(&one, &many[i]) && !memcmp(two, all + 2 * i, sizeof two));
        CHECK(fabsf(two[0] + two[1] - 1) < 1e-6f && two[one.index] == one.probability);
        CHECK(two[one.index] >= two[1 - one.index] && one.label == edge_label(c, one.index));
        GIVES(EDGE_STATUS_OK, "", edge_classify(mapped, texts[i], length, NULL, &again, NULL, &error));
        CHECK(same(&one, &again));
        GIVES(EDGE_STATUS_OK, "",
              edge_tokenize(c, texts[i], length, ids, 128, &tokens, NULL, &error));
        GIVES(EDGE_STATUS_OK, "", edge_classify_ids(c, ids, tokens, NULL, &again, two, &error));
        CHECK(same(&one, &again) && tokens == one.tokens);
    }
    /* With lengths, and a NUL inside a text. */
    const size_t lengths[] = {4, 0, 5};
    const char *with_nul[] = {"good and more", "bad", "a\0bad"};
    GIVES(EDGE_STATUS_OK, "",
          edge_classify_many(c, with_nul, lengths, 3, NULL, many, NULL, &error));
    GIVES(EDGE_STATUS_OK, "", edge_classify(c, "good", 4, NULL, &one, NULL, &error));
    CHECK(same(&one, &many[0]) && many[1].tokens == 2 && many[2].tokens > 2);
    GIVES(EDGE_STATUS_OK, "", edge_classify_many(c, NULL, NULL, 0, NULL, NULL, NULL, &error));
    edge_close(mapped);
    edge_close(c);
}

#define RUN(...) edge_classify(c, "good .", 6, __VA_ARGS__, &p, NULL, &error)

static void policies(void) {
    EdgeClassifier *c = opened();
    EdgePrediction p;
    const float first[] = {0, 1, 1, 1}, third[] = {1, 1, 0, 1}, wrong[] = {1, 1, NAN, 1};
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){.kind = EDGE_POLICY_KIND_NEVER}));
    size_t last = p.stage;
    CHECK(last == 4);
    GIVES(EDGE_STATUS_OK, "", RUN(NULL));
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){EDGE_POLICY_KIND_CONFIDENCE, 0, NULL, 0}));
    CHECK(p.stage == 1);
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){EDGE_POLICY_KIND_CONFIDENCE, 1, NULL, 0}));
    CHECK(p.stage == last);
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){EDGE_POLICY_KIND_MARGIN, 9, first, 4}));
    CHECK(p.stage == 1);
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){EDGE_POLICY_KIND_CONFIDENCE, 9, third, 4}));
    CHECK(p.stage == 3);
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){EDGE_POLICY_KIND_ENTROPY, 1, NULL, 0}));
    CHECK(p.stage == 1);
    GIVES(EDGE_STATUS_OK, "", RUN(&(EdgePolicy){EDGE_POLICY_KIND_PATIENCE, 1, NULL, 0}));
    CHECK(p.stage == 1);

    memset(&p, 0x77, sizeof p);
    EdgePrediction before = p;
    GIVES(EDGE_STATUS_POLICY, "3 thresholds for a model with 4 exits",
          RUN(&(EdgePolicy){EDGE_POLICY_KIND_CONFIDENCE, 0, first, 3}));
    GIVES(EDGE_STATUS_ARGUMENT, "more than memory",
          RUN(&(EdgePolicy){EDGE_POLICY_KIND_CONFIDENCE, 0, first, SIZE_MAX}));
    GIVES(EDGE_STATUS_POLICY, "not between 0 and 1",
          RUN(&(EdgePolicy){EDGE_POLICY_KIND_MARGIN, 0, wrong, 4}));
    GIVES(EDGE_STATUS_POLICY, "threshold 1.5",
          RUN(&(EdgePolicy){EDGE_POLICY_KIND_ENTROPY, 1.5f, NULL, 0}));
    GIVES(EDGE_STATUS_POLICY, "whole number",
          RUN(&(EdgePolicy){EDGE_POLICY_KIND_PATIENCE, 1.5f, NULL, 0}));
    GIVES(EDGE_STATUS_POLICY, "whole number",
          RUN(&(EdgePolicy){EDGE_POLICY_KIND_PATIENCE, NAN, NULL, 0}));
    GIVES(EDGE_STATUS_POLICY, "kind is 99", RUN(&(EdgePolicy){99, 0, NULL, 0}));
    CHECK(!memcmp(&p, &before, sizeof p));
    edge_close(c);
}

static void bad_input(void) {
    EdgeClassifier *c = opened();
    EdgePrediction p, many[2];
    uint32_t ids[129] = {2};
    size_t count;
    bool truncated;
    GIVES(EDGE_STATUS_ARGUMENT, "`classifier` is NULL",
          edge_classify(NULL, "a", 1, NULL, &p, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "`text` is NULL",
          edge_classify(c, NULL, 0, NULL, &p, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "`prediction`",
          edge_classify(c, "a", 1, NULL, NULL, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "`text` is not UTF-8 at byte 2 of 3",
          edge_classify(c, "ab\xff", 3, NULL, &p, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "more than memory",
          edge_classify(c, "a", SIZE_MAX, NULL, &p, NULL, &error));
    CHECK(edge_classify(c, "\xc3", 1, NULL, &p, NULL, NULL) == EDGE_STATUS_ARGUMENT);
    GIVES(EDGE_STATUS_ARGUMENT, "texts[1]",
          edge_classify_many(c, (const char *[]){"a", NULL}, NULL, 2, NULL, many, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "`texts[1]` is not UTF-8",
          edge_classify_many(c, (const char *[]){"a", "\xfe"}, NULL, 2, NULL, many, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "`texts` is NULL",
          edge_classify_many(c, NULL, NULL, 2, NULL, many, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "more than memory",
          edge_classify_many(c, (const char *[]){"a"}, NULL, SIZE_MAX / 4, NULL, many, NULL, &error));
    GIVES(EDGE_STATUS_INPUT, "no tokens", edge_classify_ids(c, NULL, 0, NULL, &p, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "`ids` is NULL",
          edge_classify_ids(c, NULL, 3, NULL, &p, NULL, &error));
    GIVES(EDGE_STATUS_INPUT, "129 tokens; the model takes at most 128",
          edge_classify_ids(c, ids, 129, NULL, &p, NULL, &error));
    ids[1] = UINT32_MAX;
    GIVES(EDGE_STATUS_INPUT, "token id 4294967295",
          edge_classify_ids(c, ids, 2, NULL, &p, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "has 3 tokens, and `ids` has room for 2",
          edge_tokenize(c, "a", 1, ids, 2, &count, NULL, &error));
    CHECK(count == 3 && ids[0] == 2 && ids[1] == UINT32_MAX);
    GIVES(EDGE_STATUS_ARGUMENT, "room for 0", edge_tokenize(c, "a", 1, NULL, 0, &count, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "is NULL", edge_tokenize(c, "a", 1, NULL, 9, &count, NULL, &error));
    GIVES(EDGE_STATUS_ARGUMENT, "is NULL", edge_tokenize(c, "a", 1, ids, 9, NULL, NULL, &error));

    size_t length = 1 << 16;
    char *text = malloc(length);
    for (size_t i = 0; i < length; i++) text[i] = i % 2 ? ' ' : 'a';
    GIVES(EDGE_STATUS_OK, "", edge_classify(c, text, length, NULL, &p, NULL, &error));
    CHECK(p.truncated && p.tokens == 128);
    GIVES(EDGE_STATUS_OK, "", edge_tokenize(c, text, length, ids, 128, &count, &truncated, &error));
    CHECK(truncated && count == 128);
    memset(text, 'x', length);
    GIVES(EDGE_STATUS_OK, "", edge_classify(c, text, length, NULL, &p, NULL, &error));
    CHECK(!p.truncated && p.tokens == 3);
    free(text);
    edge_close(c);
}

static EdgeClassifier *shared;
static EdgePrediction expected;

static void *many_times(void *unused) {
    for (int i = 0; i < 50; i++) {
        EdgePrediction p;
        EdgeError own;
        EdgeStatus status = edge_classify(shared, "a good one", 10, NULL, &p, NULL, &own);
        if (status != EDGE_STATUS_OK || !same(&p, &expected)) return &shared;
        if (edge_classify(shared, "\xff", 1, NULL, &p, NULL, &own) != EDGE_STATUS_ARGUMENT)
            return &shared;
    }
    return unused;
}

static int running(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    int threads = 0;
    while (file && fgets(line, sizeof line, file)) sscanf(line, "Threads: %d", &threads);
    if (file) fclose(file);
    return threads;
}

static void threads(void) {
    shared = opened();
    GIVES(EDGE_STATUS_OK, "", edge_classify(shared, "a good one", 10, NULL, &expected, NULL, &error));
    pthread_t all[4];
    for (int i = 0; i < 4; i++) pthread_create(&all[i], NULL, many_times, NULL);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(all[i], &failed);
        CHECK(!failed);
    }
    edge_close(shared);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    model = arguments[1];
    int before = running();
    opening();
    memory();
    reader();
    classifying();
    policies();
    bad_input();
    CHECK(running() == before); /* The library starts no threads. */
    threads();
    if (!failures) puts("test.c: all well");
    return failures > 0;
}
