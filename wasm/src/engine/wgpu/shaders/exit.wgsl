// An exit. Writes the logits of every sentence still in the batch, and decides which sentences
// leave. Closes the gaps between the others, and writes the size of every later dispatch.
//
// logits [sentences, inputs]. `a` is the number of the exit. One workgroup of 256 goes through the
// sentences, 256 at a time. Memory of a workgroup: 2 KiB. The policies are those of exit.rs.

@group(0) @binding(0) var<uniform> params: Params;
// First: kind, capacity in sentences, number of grids. Then for each exit: its threshold, as bits,
// and 1 if all sentences leave there.
@group(0) @binding(1) var<uniform> policy: array<vec4<u32>, 129>;
// For each dispatch: rows per workgroup, 0 for sentences or 1 for tokens, and its second dimension.
@group(0) @binding(2) var<uniform> grids: array<vec4<u32>, 64>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
@group(0) @binding(4) var<storage, read_write> sentences: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> sizes: array<u32>;
// For each sentence of the batch: label at the exit before, number of consecutive exits with this
// label, exit after which the sentence left. Then for each exit the logits, as bits.
@group(0) @binding(6) var<storage, read_write> answers: array<u32>;
@group(0) @binding(7) var<storage, read> logits: array<f32>;
// The host's decision for each sentence: 1 stays.
@group(0) @binding(8) var<storage, read> stay: array<u32>;

const CONFIDENCE = 1u;
const ENTROPY = 2u;
const MARGIN = 3u;
const PATIENCE = 4u;
const HOST = 5u;

// For each sentence 1 and its rows if it stays, otherwise zeros: running sums from the first
// sentence on.
var<workgroup> running: array<vec2<u32>, 256>;
var<workgroup> inside: u32;

fn leaves(at: u32, origin: u32) -> bool {
    let labels = params.inputs;
    let kind = policy[0].x;
    let capacity = policy[0].y;
    let threshold = bitcast<f32>(policy[1u + params.a].x);
    var best = 0u;
    for (var i = 0u; i < labels; i += 1u) {
        if logits[at * labels + i] > logits[at * labels + best] {
            best = i;
        }
        let place = (3u + params.a * labels) * capacity + origin * labels + i;
        answers[place] = bitcast<u32>(logits[at * labels + i]);
    }
    var agree = 1u;
    if params.a > 0u && answers[origin] == best {
        agree = answers[capacity + origin] + 1u;
    }
    answers[origin] = best;
    answers[capacity + origin] = agree;
    if policy[1u + params.a].y == 1u {
        return true;
    }
    if kind == PATIENCE {
        return agree >= policy[1u + params.a].x;
    }
    var sum = 0.0;
    let most = logits[at * labels + best];
    for (var i = 0u; i < labels; i += 1u) {
        sum += exponential(logits[at * labels + i] - most);
    }
    var largest = 0.0;
    var second = 0.0;
    var entropy = 0.0;
    for (var i = 0u; i < labels; i += 1u) {
        let p = exponential(logits[at * labels + i] - most) / sum;
        if p > largest {
            second = largest;
            largest = p;
        } else {
            second = max(second, p);
        }
        if p > 0.0 {
            entropy -= p * log(p);
        }
    }
    if labels < 2u {
        entropy = 0.0;
    } else {
        entropy /= log(f32(labels));
    }
    switch kind {
        case CONFIDENCE: { return threshold < 1.0 && largest >= threshold; }
        case ENTROPY: { return threshold > 0.0 && entropy <= threshold; }
        case MARGIN: { return threshold < 1.0 && largest - second >= threshold; }
        default: { return false; }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane == 0u {
        inside = counts[0];
    }
    let total = workgroupUniformLoad(&inside);
    var done = vec2<u32>(0u);
    for (var first = 0u; first < total; first += 256u) {
        let at = first + lane;
        var sentence = vec4<u32>(0u);
        var stays = false;
        if at < total {
            sentence = sentences[at];
            if policy[0].x == HOST {
                stays = stay[at] == 1u;
            } else {
                stays = !leaves(at, sentence.z);
                if !stays {
                    answers[2u * policy[0].y + sentence.z] = params.a;
                }
            }
        }
        running[lane] = select(vec2<u32>(0u), vec2<u32>(1u, sentence.y), stays);
        workgroupBarrier();
        for (var step = 1u; step < 256u; step *= 2u) {
            var before = vec2<u32>(0u);
            if lane >= step {
                before = running[lane - step];
            }
            workgroupBarrier();
            running[lane] += before;
            workgroupBarrier();
        }
        // All sentences of this step have been read. Writes end before the sentences of the next
        // step.
        if stays {
            let to = done + running[lane] - vec2<u32>(1u, sentence.y);
            sentences[to.x] = vec4<u32>(to.y, sentence.y, sentence.z, sentence.x);
        }
        done += running[255];
        storageBarrier();
        workgroupBarrier();
    }
    if lane == 0u {
        counts[0] = done.x;
        counts[1] = done.y;
    }
    for (var grid = lane; grid < policy[0].z; grid += 256u) {
        let per = grids[grid];
        let rows = select(done.x, done.y, per.y == 1u);
        sizes[grid * 3u] = (rows + per.x - 1u) / per.x;
        sizes[grid * 3u + 1u] = per.z;
        sizes[grid * 3u + 2u] = 1u;
    }
}
