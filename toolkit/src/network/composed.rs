//! Layers composed of candle's operators, with candle's own backward pass: for every device, for
//! bf16, and for attention probabilities. Tests compare the fused CPU kernels with these.

use super::Mode;
use super::layers::{Linear, Norm};
use super::parameter::Values;
use super::quantized::QuantizedRows;
use crate::quantize::{EMBEDDING_GROUP, EmbeddingBits, Grid, rounding};
use candle_core::{D, DType, Device, Result, Tensor};
use edge_runtime::graph::Activation;

/// Computes `x · weightᵀ + bias`.
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

/// Computes an activation.
///
/// # Errors
/// A message with the activation, if it cannot be trained.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Tanh => x.tanh(),
        Activation::Identity => Ok(x.clone()),
        other => candle_core::bail!(
            "the activation {other:?} cannot be trained; expected gelu, gelu_tanh, relu, tanh or identity"
        ),
    }
}

/// Rounds the rows of `x` to −`most`…`most`; the backward pass treats rounding as the identity.
pub fn rounded(x: &Tensor, most: i8) -> Result<Tensor> {
    let most = f64::from(most);
    let values = x.detach();
    let largest = values.abs()?.max_keepdim(D::Minus1)?.clamp(1e-30, f32::MAX)?;
    let scale = (largest / most)?;
    let rounded = values.broadcast_div(&scale)?.round()?.broadcast_mul(&scale)?;
    x + (rounded - values)?
}

/// Rounds the rows of `weight` to products, searched for on the CPU; the backward pass treats
/// rounding as the identity.
fn products(weight: &Tensor, grid: Grid) -> Result<Tensor> {
    let values = weight.detach();
    let stored = values.to_device(&Device::Cpu)?.contiguous()?;
    let rounded = QuantizedRows::of_weights(&Values::of(&stored)?, weight.dim(1)?, grid).values();
    let rounded = Tensor::from_vec(rounded, weight.shape(), weight.device())?;
    weight + (rounded - values)?
}

/// Rounds word embeddings, `[rows, hidden]`, to this number of bits.
pub fn words(x: &Tensor, bits: EmbeddingBits) -> Result<Tensor> {
    match bits {
        EmbeddingBits::Eight => rounded(x, 127),
        EmbeddingBits::Four => {
            let group = rounding::group(x.dim(1)?, EMBEDDING_GROUP);
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

/// Applies the dropout of this place to `x`.
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

/// Log-probabilities over the last dimension.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)
}
