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
 * Result of a call.
 */
typedef enum EdgeStatus {
    /**
     * The call succeeded.
     */
    EDGE_STATUS_OK = 0,
    /**
     * An argument is NULL, not UTF-8, or has too little room for the answer.
     */
    EDGE_STATUS_ARGUMENT = 1,
    /**
     * The file, or the callback that reads the bundle, failed.
     */
    EDGE_STATUS_IO = 2,
    /**
     * The bundle is damaged, cut short, of another version, or not supported by this library.
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
 * Rule by which a text leaves early.
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
     * Leave when a number of exits in a row agree; the threshold is the number, a whole one, 1 or
     * more.
     */
    EDGE_POLICY_KIND_PATIENCE = 4,
} EdgePolicyKind;

/**
 * Text classifier. Any number of threads may use it at the same time. `edge_close` must be called
 * after all other calls have returned.
 */
typedef struct EdgeClassifier EdgeClassifier;

/**
 * An exit policy: `EdgePolicy policy = {EDGE_POLICY_KIND_CONFIDENCE, 0.9f};`, or with a threshold
 * for each exit `{EDGE_POLICY_KIND_CONFIDENCE, 0, thresholds, edge_exits(classifier)}`. NULL
 * instead of a policy means the policy of the bundle.
 */
typedef struct EdgePolicy {
    /**
     * Kind of the policy, a value of `EdgePolicyKind`.
     */
    uint32_t kind;
    /**
     * The threshold at every exit; ignored with `EDGE_POLICY_KIND_NEVER`.
     */
    float threshold;
    /**
     * Array of one threshold for each exit, used instead of `threshold`; or NULL.
     */
    const float *thresholds;
    /**
     * The number of `thresholds`.
     */
    size_t count;
} EdgePolicy;

/**
 * Answer of a classifier for one text.
 */
typedef struct EdgePrediction {
    /**
     * The label with the largest probability, valid until the handle is closed.
     */
    const char *label;
    /**
     * The number of the label.
     */
    size_t index;
    /**
     * The probability of the label.
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
     * True if the text was cut to the model's length.
     */
    bool truncated;
} EdgePrediction;

/**
 * Failure of a call, in memory of the caller. A call that succeeds leaves it unchanged.
 */
typedef struct EdgeError {
    /**
     * The status that the call returned.
     */
    enum EdgeStatus status;
    /**
     * Message with the fault, its place and the accepted form: UTF-8, cut to the size of the
     * array, with a NUL at its end.
     */
    char message[EDGE_MESSAGE_BYTES];
} EdgeError;

/**
 * Callback that reads the next bytes of a bundle. It writes up to `capacity` bytes to `buffer` and
 * returns their number, 0 at the end, or a negative number after a failure. `context` is the
 * argument of `edge_open_reader`, which calls the function on its own thread, only until it
 * returns.
 */
typedef ptrdiff_t (*EdgeRead)(void *context, uint8_t *buffer, size_t capacity);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Classifies one text of `length` bytes in UTF-8. Writes the answer to `prediction`, and one
 * number for each label to `probabilities`, if it is not NULL. After a failure both are unchanged.
 *
 * The caller must ensure:
 * `classifier` is a handle. Every other pointer has the memory described above; `policy`,
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
 * Classifies one text like `edge_classify`, from its token ids, special tokens included. Memory is
 * allocated only for a longer text or more simultaneous calls than before, and for a policy with a
 * threshold for each exit.
 *
 * The caller must ensure:
 * The requirements of `edge_classify`.
 */
enum EdgeStatus edge_classify_ids(const struct EdgeClassifier *classifier,
                                  const uint32_t *ids,
                                  size_t count,
                                  const struct EdgePolicy *policy,
                                  struct EdgePrediction *prediction,
                                  float *probabilities,
                                  struct EdgeError *error);

/**
 * Classifies `count` texts together. `lengths` contains their sizes in bytes, or is NULL if each
 * text ends with a NUL. Writes `count` predictions to `predictions`. Writes one number for each
 * text and label to `probabilities`, if it is not NULL.
 *
 * The caller must ensure:
 * The requirements of `edge_classify`.
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
 * Converts a text to token ids, special tokens included, truncated to the model's length. Writes
 * the number of ids to `count`, and the ids to `ids`. `ids` has room for `capacity` ids;
 * `edge_max_tokens` is always enough. If `capacity` is too small, `ids` is unchanged. Writes to
 * `truncated`, if it is not NULL: true if the text was cut, false otherwise.
 *
 * The caller must ensure:
 * The requirements of `edge_classify`.
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
 * Opens a model.edge and reads it into memory. Writes a handle to `classifier`, or NULL after a
 * failure. `edge_close` frees the handle.
 *
 * The caller must ensure:
 * `path` ends with a NUL; `error` is NULL or may be written to.
 */
enum EdgeStatus edge_open(const char *path,
                          struct EdgeClassifier **classifier,
                          struct EdgeError *error);

/**
 * Opens a model.edge like `edge_open`, and maps the file into memory. The system reads int8
 * embeddings, half of a small model, on first use, and drops them when memory is short.
 *
 * The caller must ensure:
 * The requirements of `edge_open`. The file must stay unchanged while the handle lives: a read
 * behind the end of a shortened file ends the process (by SIGBUS on Unix). To replace a model,
 * write a new file and rename it.
 */
enum EdgeStatus edge_open_mapped(const char *path,
                                 struct EdgeClassifier **classifier,
                                 struct EdgeError *error);

/**
 * Opens a bundle in memory like `edge_open`, for example one that is linked into the program. The
 * bundle is borrowed, not copied. Weights that are packed for this processor are used in place, if
 * `bytes` is a multiple of 64.
 *
 * The caller must ensure:
 * The `length` bytes at `bytes` must stay unchanged until `edge_close`; `error` is NULL or may be
 * written to.
 */
enum EdgeStatus edge_open_memory(const uint8_t *bytes,
                                 size_t length,
                                 struct EdgeClassifier **classifier,
                                 struct EdgeError *error);

/**
 * Opens a bundle like `edge_open`, through a callback that reads it from front to back: from
 * flash, an archive or the network.
 *
 * The caller must ensure:
 * `read` may be called with `context`; `error` is NULL or may be written to.
 */
enum EdgeStatus edge_open_reader(EdgeRead read,
                                 void *context,
                                 struct EdgeClassifier **classifier,
                                 struct EdgeError *error);

/**
 * Frees a handle; does nothing if it is NULL.
 *
 * The caller must ensure:
 * No thread uses the handle any more.
 */
void edge_close(struct EdgeClassifier *classifier);

/**
 * The number of labels, and of the probabilities of a text; 0 if `classifier` is NULL.
 *
 * The caller must ensure:
 * `classifier` is NULL or a handle.
 */
size_t edge_labels(const struct EdgeClassifier *classifier);

/**
 * The label number `index`, in UTF-8, valid until the handle is closed; NULL if `index` is too
 * large.
 *
 * The caller must ensure:
 * `classifier` is NULL or a handle.
 */
const char *edge_label(const struct EdgeClassifier *classifier, size_t index);

/**
 * The number of exits, and of the thresholds of a policy with one threshold for each exit; 0 if
 * `classifier` is NULL.
 *
 * The caller must ensure:
 * `classifier` is NULL or a handle.
 */
size_t edge_exits(const struct EdgeClassifier *classifier);

/**
 * The model's length: the largest number of tokens of a text, special tokens included. Longer
 * texts are truncated. 0 if `classifier` is NULL.
 *
 * The caller must ensure:
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
