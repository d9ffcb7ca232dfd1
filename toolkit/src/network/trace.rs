//! An encoder layer composed of candle's operators, with what it computes on its way.

use super::batch::attention_mask;
use super::layers::{Block, Linear};
use super::{Batch, Mode, composed};
use candle_core::{Result, Tensor};

/// Intermediate results of an encoder layer, `[rows, …]`.
pub struct Trace {
    /// Concatenated heads.
    pub context: Tensor,
    /// Rows after the attention's norm.
    pub middle: Tensor,
    /// Rows after the activation.
    pub inner: Tensor,
    /// Next hidden states.
    pub out: Tensor,
    /// Attention probabilities, `[sentences, heads, tokens, tokens]`.
    pub probabilities: Tensor,
}

/// An encoder layer; see [`Block::forward`].
pub fn block(
    x: &Tensor,
    b: &Block,
    batch: &Batch,
    mode: &Mode,
    site: u64,
) -> Result<(Tensor, Option<Tensor>)> {
    let trace = trace(x, b, batch, mode, site)?;
    Ok((trace.out, mode.attention.then_some(trace.probabilities)))
}

/// An encoder layer with its intermediate results.
pub fn trace(x: &Tensor, b: &Block, batch: &Batch, mode: &Mode, site: u64) -> Result<Trace> {
    let (context, probabilities) = attention(x, b, batch, mode, site)?;
    let attended = b.attention_output.forward(&context, mode)?;
    let middle =
        composed::norm(&(composed::dropout(&attended, mode, site + 1)? + x)?, &b.attention_norm)?;
    let inner = b.intermediate.forward(&middle, mode)?;
    let inner = composed::activate(&inner, b.activation)?;
    let fed = b.output.forward(&inner, mode)?;
    let out =
        composed::norm(&(composed::dropout(&fed, mode, site + 2)? + &middle)?, &b.output_norm)?;
    Ok(Trace { context, middle, inner, out, probabilities })
}

fn attention(
    x: &Tensor,
    b: &Block,
    batch: &Batch,
    mode: &Mode,
    site: u64,
) -> Result<(Tensor, Tensor)> {
    let width = b.query.outputs();
    let (sentences, longest) = (batch.sentences(), batch.longest());
    let size = width / b.heads;
    let device = x.device();
    // Row of the batch for every place of the padded form, and the inverse.
    let mut rows = vec![0u32; sentences * longest];
    let mut places = Vec::with_capacity(batch.rows());
    let mut hidden = vec![f32::NEG_INFINITY; sentences * longest];
    for (s, span) in batch.starts.windows(2).enumerate() {
        for (i, row) in (span[0]..span[1]).enumerate() {
            rows[s * longest + i] = row as u32;
            hidden[s * longest + i] = 0.0;
            places.push((s * longest + i) as u32);
        }
    }
    let rows = Tensor::from_vec(rows, sentences * longest, device)?;
    let places = Tensor::from_vec(places, batch.rows(), device)?;
    let hidden = Tensor::from_vec(hidden, (sentences, 1, 1, longest), device)?;
    let by_head = |linear: &Linear| -> Result<Tensor> {
        linear
            .forward(x, mode)?
            .index_select(&rows, 0)?
            .reshape((sentences, longest, b.heads, size))?
            .transpose(1, 2)?
            .contiguous()
    };
    let scores = by_head(&b.query)?.matmul(&by_head(&b.key)?.t()?)?;
    let scores = (scores / (size as f64).sqrt())?.broadcast_add(&hidden)?;
    let probabilities = composed::softmax(&scores)?;
    let dropped = match mode.dropout(site) {
        None => probabilities.clone(),
        Some(dropout) => {
            let mask = attention_mask(&dropout, batch, b.heads);
            probabilities.mul(&Tensor::from_vec(mask, probabilities.shape(), device)?)?
        }
    };
    let context = dropped
        .matmul(&by_head(&b.value)?)?
        .transpose(1, 2)?
        .reshape((sentences * longest, width))?
        .index_select(&places, 0)?;
    Ok((context, probabilities))
}
