/* The C interface of Edge Distil. Made by cbindgen of wasm/c/src; docs/embedding.md shows its use. */

#ifndef EDGE_DISTIL_H
#define EDGE_DISTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The size of a message in bytes, with the NUL at its end.
 */
#define EDGE_MESSAGE_BYTES 512

/**
 * How a call ended.
 */
typedef enum EdgeStatus {
    /**
     * Well.
     */
    EDGE_STATUS_OK = 0,
    /**
     * An argument is NULL, not UTF-8, or too small for what was to be written to it.
     */
    EDGE_STATUS_ARGUMENT = 1,
    /**
     * The file, or the callback that reads the bundle, failed.
     */
    EDGE_STATUS_IO = 2,
    /**
     * The bundle is damaged, cut short, of another version, or this library cannot run it.
     */
    EDGE_STATUS_BUNDLE = 3,
    /**
     * The exit policy does not fit the model.
     */
    EDGE_STATUS_POLICY = 4,
    /**
     * The text or the token ids cannot be classified.
     */
    EDGE_STATUS_INPUT = 5,
    /**
     * The computation failed.
     */
    EDGE_STATUS_ENGINE = 6,
    /**
     * A bug in the library. The classifier may still be closed.
     */
    EDGE_STATUS_PANIC = 7,
} EdgeStatus;

/**
 * When a text leaves early.
 */
typedef enum EdgePolicyKind {
    /**
     * Full depth for every text.
     */
    EDGE_POLICY_KIND_NEVER = 0,
    /**
     * Leave when the largest probability is at least the threshold, 0 to 1.
     */
    EDGE_POLICY_KIND_CONFIDENCE = 1,
    /**
     * Leave when the normalized entropy is at most the threshold, 0 to 1.
     */
    EDGE_POLICY_KIND_ENTROPY = 2,
    /**
     * Leave when the two largest probabilities are at least the threshold apart, 0 to 1.
     */
    EDGE_POLICY_KIND_MARGIN = 3,
    /**
     * Leave when so many exits in a row agree: a whole number, 1 or more.
     */
    EDGE_POLICY_KIND_PATIENCE = 4,
} EdgePolicyKind;

/**
 * A model that puts labels on texts. Any number of threads may use it at the same time; only
 * `edge_close` must come after all other calls have returned.
 */
typedef struct EdgeClassifier EdgeClassifier;

/**
 * An exit policy: `EdgePolicy policy = {EDGE_POLICY_KIND_CONFIDENCE, 0.9f};`, or with a threshold for
 * each exit `{EDGE_POLICY_KIND_CONFIDENCE, 0, thresholds, edge_exits(classifier)}`. Where a function
 * takes NULL for a policy, that is the one of the bundle.
 */
typedef struct EdgePolicy {
    /**
     * One of `EdgePolicyKind`.
     */
    uint32_t kind;
    /**
     * The threshold at every exit; not used by `EDGE_POLICY_KIND_NEVER`.
     */
    float threshold;
    /**
     * NULL, or instead of `threshold` one for each exit.
     */
    const float *thresholds;
    /**
     * The number of `thresholds`.
     */
    size_t count;
} EdgePolicy;

/**
 * What a classifier says of one text.
 */
typedef struct EdgePrediction {
    /**
     * The label with the largest probability. It lives as long as the handle.
     */
    const char *label;
    /**
     * The number of that label.
     */
    size_t index;
    /**
     * Its probability.
     */
    float probability;
    /**
     * The stage after which the text left: 0 for the embeddings, k for encoder layer k.
     */
    size_t stage;
    /**
     * Tokens of the text, special tokens included.
     */
    size_t tokens;
    /**
     * Whether the text was longer than the model takes.
     */
    bool truncated;
} EdgePrediction;

/**
 * What went wrong. It belongs to the caller, and a call that ends well leaves it as it was.
 */
typedef struct EdgeError {
    /**
     * The status that the call gave.
     */
    enum EdgeStatus status;
    /**
     * What was wrong, where, and what is accepted: UTF-8, cut where it does not fit, with a NUL at
     * its end.
     */
    char message[EDGE_MESSAGE_BYTES];
} EdgeError;

/**
 * Reads the next bytes of a bundle: writes up to `capacity` of them to `buffer` and gives their
 * number, 0 at the end, or a negative number if it failed. `context` is what `edge_open_reader` was
 * given. It is called on the thread that opens, and not any more once that returns.
 */
typedef ptrdiff_t (*EdgeRead)(void *context, uint8_t *buffer, size_t capacity);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Puts a label on one text of `length` bytes in UTF-8. Writes to `prediction` and, unless it is NULL,
 * as many numbers as there are labels to `probabilities`. Where it fails, nothing is written to either.
 *
 * The caller sees to this:
 * `classifier` is a handle; there is as much memory as said at every other pointer; `policy`,
 * `probabilities` and `error` may be NULL.
 */
enum EdgeStatus edge_classify(const struct EdgeClassifier *classifier,
                              const char *text,
                              size_t length,
                              const struct EdgePolicy *policy,
                              struct EdgePrediction *prediction,
                              float *probabilities,
                              struct EdgeError *error);

/**
 * As `edge_classify`, for a text whose token ids are known, special tokens included. Once it has seen
 * as many ids on as many threads at the same time, it allocates nothing, unless the policy has a
 * threshold for each exit.
 *
 * The caller sees to this:
 * As `edge_classify`.
 */
enum EdgeStatus edge_classify_ids(const struct EdgeClassifier *classifier,
                                  const uint32_t *ids,
                                  size_t count,
                                  const struct EdgePolicy *policy,
                                  struct EdgePrediction *prediction,
                                  float *probabilities,
                                  struct EdgeError *error);

/**
 * Puts a label on each of `count` texts, which are computed together. `lengths` holds their sizes in
 * bytes, or is NULL if each ends with a NUL. Writes `count` predictions and, unless it is NULL, `count`
 * times as many numbers as there are labels to `probabilities`.
 *
 * The caller sees to this:
 * As `edge_classify`.
 */
enum EdgeStatus edge_classify_many(const struct EdgeClassifier *classifier,
                                   const char *const *texts,
                                   const size_t *lengths,
                                   size_t count,
                                   const struct EdgePolicy *policy,
                                   struct EdgePrediction *predictions,
                                   float *probabilities,
                                   struct EdgeError *error);

/**
 * The token ids of a text, special tokens included, truncated to what the model takes. Writes their
 * number to `count`, and them to `ids`, which has room for `capacity`: `edge_max_tokens` is always
 * enough. If there are more, nothing is written to `ids`. `truncated`, unless it is NULL, gets whether
 * the text was longer than the model takes.
 *
 * The caller sees to this:
 * As `edge_classify`.
 */
enum EdgeStatus edge_tokenize(const struct EdgeClassifier *classifier,
                              const char *text,
                              size_t length,
                              uint32_t *ids,
                              size_t capacity,
                              size_t *count,
                              bool *truncated,
                              struct EdgeError *error);

/**
 * Opens a model.edge and reads it into memory. Writes a handle to `classifier`, to be freed by
 * `edge_close`; NULL if it fails.
 *
 * The caller sees to this:
 * `path` ends with a NUL; `error` is NULL or may be written to.
 */
enum EdgeStatus edge_open(const char *path,
                          struct EdgeClassifier **classifier,
                          struct EdgeError *error);

/**
 * As `edge_open`, with the file mapped into memory: int8 embeddings, half of a small model, are read
 * when they are needed and given back when memory is short.
 *
 * The caller sees to this:
 * As `edge_open`. Nobody may write to the file or cut it short while the handle lives: a read behind
 * its end ends the process (by SIGBUS on Unix). To replace a model, write a new file and rename it.
 */
enum EdgeStatus edge_open_mapped(const char *path,
                                 struct EdgeClassifier **classifier,
                                 struct EdgeError *error);

/**
 * As `edge_open`, for a bundle in memory: that of the program, if it is linked in. It is borrowed, not
 * copied; weights that are packed for this processor are computed with in place, if 64 divides `bytes`.
 *
 * The caller sees to this:
 * The `length` bytes at `bytes` must stay as they are until `edge_close`; `error` is NULL or may be
 * written to.
 */
enum EdgeStatus edge_open_memory(const uint8_t *bytes,
                                 size_t length,
                                 struct EdgeClassifier **classifier,
                                 struct EdgeError *error);

/**
 * As `edge_open`, for a bundle that a callback reads, from front to back, until it is complete: from
 * flash, an archive or the network.
 *
 * The caller sees to this:
 * `read` may be called with `context`; `error` is NULL or may be written to.
 */
enum EdgeStatus edge_open_reader(EdgeRead read,
                                 void *context,
                                 struct EdgeClassifier **classifier,
                                 struct EdgeError *error);

/**
 * Frees a handle; does nothing if it is NULL.
 *
 * The caller sees to this:
 * The handle is not used any more, by this thread or another.
 */
void edge_close(struct EdgeClassifier *classifier);

/**
 * The number of labels, which is that of the probabilities of a text; 0 if `classifier` is NULL.
 *
 * The caller sees to this:
 * `classifier` is NULL or a handle.
 */
size_t edge_labels(const struct EdgeClassifier *classifier);

/**
 * The label number `index`, in UTF-8; it lives as long as the handle. NULL if there is none.
 *
 * The caller sees to this:
 * `classifier` is NULL or a handle.
 */
const char *edge_label(const struct EdgeClassifier *classifier, size_t index);

/**
 * The number of exits, which is that of the thresholds of a policy with one for each; 0 if
 * `classifier` is NULL.
 *
 * The caller sees to this:
 * `classifier` is NULL or a handle.
 */
size_t edge_exits(const struct EdgeClassifier *classifier);

/**
 * The most tokens that the model takes, special ones included; longer texts are truncated. 0 if
 * `classifier` is NULL.
 *
 * The caller sees to this:
 * `classifier` is NULL or a handle.
 */
size_t edge_max_tokens(const struct EdgeClassifier *classifier);

/**
 * The version of the library, such as "0.1.0".
 */
const char *edge_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EDGE_DISTIL_H */
