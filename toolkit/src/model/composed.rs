//! The layers composed of candle's operators, with candle's own backward pass: for every device,
//! for bf16, and where the attention probabilities are asked for. The fast forms of the CPU are
//! held to these.

use super::block::{Block, Linear, Norm};
use super::parameter::Values;
use super::quantized::Rows;
use super::{Batch, Mode};
use crate::quantize::{EMBEDDING_GROUP, EmbeddingBits, Grid, int8};
use candle_core::{D, DType, Device, Result, Tensor};
use edge_runtime::graph::Activation;

/// `x · weightᵀ + bias`.
pub fn linear(x: &Tensor, linear: &Linear, mode: &Mode) -> Result<Tensor> {
    let weight = &linear.weight.seen()?;
    if let Some(int8) = mode.quantized {
        let weight = match int8.linear(linear.site) {
            Grid::Integers(bits) => rounded(weight, bits.largest())?,
            grid => products(weight, grid)?,
        };
        let x = rounded(x, 127)?;
        return x.matmul(&weight.t()?)?.broadcast_add(linear.bias.var().as_tensor());
    }
    let product = if mode.precision == DType::F32 {
        x.matmul(&weight.t()?)?
    } else {
        let (x, weight) = (x.to_dtype(mode.precision)?, weight.to_dtype(mode.precision)?);
        x.matmul(&weight.t()?)?.to_dtype(DType::F32)?
    };
    product.broadcast_add(linear.bias.var().as_tensor())
}

/// `x` with its rows rounded to −`most`…`most`; the backward pass takes that for the identity.
pub fn rounded(x: &Tensor, most: i8) -> Result<Tensor> {
    let most = f64::from(most);
    let values = x.detach();
    let largest = values.abs()?.max_keepdim(D::Minus1)?.clamp(1e-30, f32::MAX)?;
    let scale = (largest / most)?;
    let rounded = values.broadcast_div(&scale)?.round()?.broadcast_mul(&scale)?;
    x + (rounded - values)?
}

/// `weight` with its rows rounded as on the CPU, where they are searched for; the backward pass takes that for
/// the identity.
fn products(weight: &Tensor, grid: Grid) -> Result<Tensor> {
    let values = weight.detach();
    let stored = values.to_device(&Device::Cpu)?.contiguous()?;
    let rounded = Rows::of_weights(&Values::of(&stored)?, weight.dim(1)?, grid).values();
    let rounded = Tensor::from_vec(rounded, weight.shape(), weight.device())?;
    weight + (rounded - values)?
}

/// Word embeddings, `[rows, hidden]`, rounded to so many bits.
pub fn words(x: &Tensor, bits: EmbeddingBits) -> Result<Tensor> {
    match bits {
        EmbeddingBits::Eight => rounded(x, 127),
        EmbeddingBits::Four => {
            let group = int8::group(x.dim(1)?, EMBEDDING_GROUP);
            rounded(&x.reshape(((), group))?, 7)?.reshape(x.shape())
        }
    }
}

/// `norm(x)`.
pub fn norm(x: &Tensor, norm: &Norm) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred
        .broadcast_div(&(variance + f64::from(norm.epsilon))?.sqrt()?)?
        .broadcast_mul(norm.gamma.var().as_tensor())?
        .broadcast_add(norm.beta.var().as_tensor())
}

/// `x` with the dropout of this place.
pub fn dropout(x: &Tensor, mode: &Mode, site: u64) -> Result<Tensor> {
    match mode.dropout(site) {
        None => Ok(x.clone()),
        Some(dropout) => {
            let mask = Tensor::from_vec(dropout.mask(x.elem_count()), x.shape(), x.device())?;
            x.mul(&mask)
        }
    }
}

/// Probabilities over the last dimension.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// Logarithms of the probabilities over the last dimension.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// What an encoder layer computes on its way, `[rows, …]`.
pub struct Trace {
    /// The heads side by side.
    pub context: Tensor,
    /// After the attention's norm.
    pub middle: Tensor,
    /// After the activation.
    pub inner: Tensor,
    /// The next hidden states.
    pub out: Tensor,
    /// `[sentences, heads, tokens, tokens]`.
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

/// An encoder layer with what it computes on its way.
pub fn trace(x: &Tensor, b: &Block, batch: &Batch, mode: &Mode, site: u64) -> Result<Trace> {
    let (context, probabilities) = attention(x, b, batch, mode, site)?;
    let attended = b.attention_output.forward(&context, mode)?;
    let middle = norm(&(dropout(&attended, mode, site + 1)? + x)?, &b.attention_norm)?;
    let inner = b.intermediate.forward(&middle, mode)?;
    let inner = match b.activation {
        Activation::Gelu => inner.gelu_erf()?,
        Activation::GeluTanh => inner.gelu()?,
        Activation::Relu => inner.relu()?,
        Activation::Tanh => inner.tanh()?,
        Activation::Identity => inner,
        other => candle_core::bail!("the activation {other:?} is not trained"),
    };
    let fed = b.output.forward(&inner, mode)?;
    let out = norm(&(dropout(&fed, mode, site + 2)? + &middle)?, &b.output_norm)?;
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
    // Row of the batch for every place of the padded form, and back.
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
    let probabilities = softmax(&scores)?;
    let dropped = match mode.dropout(site) {
        None => probabilities.clone(),
        Some(dropout) => {
            let mask = super::attention_mask(&dropout, batch, b.heads);
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
