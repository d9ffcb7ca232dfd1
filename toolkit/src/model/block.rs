//! One encoder layer, trained: the fast form for the CPU and the composed one for every device.

use super::attach::attach;
use super::kernels::matmul::{Matrix, add_product, linear, product};
use super::kernels::{add, attention, column_sums, gelu, norm};
use super::parameter::{Parameter, Values};
use super::quantized::{self, Rows, Seen, rows_seen};
use super::{Batch, Mode, composed};
use crate::quantize::Site;
use candle_core::{DType, Result, Tensor};
use edge_runtime::graph::{self, Activation};
use std::sync::Arc;

/// A linear layer's parameters.
#[derive(Clone)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Arc<Parameter>,
    /// `[outputs]`.
    pub bias: Arc<Parameter>,
    /// Which of the network's it is; `None` for one outside of it. Queries, keys and values are one.
    pub site: Option<Site>,
}

/// A layer norm's parameters.
#[derive(Clone)]
pub struct Norm {
    /// `[hidden]`.
    pub gamma: Arc<Parameter>,
    /// `[hidden]`.
    pub beta: Arc<Parameter>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// An encoder layer's parameters.
#[derive(Clone)]
pub struct Block {
    /// `[heads · head size, hidden]`, as the next two.
    pub query: Linear,
    /// See [`query`](Self::query).
    pub key: Linear,
    /// See [`query`](Self::query).
    pub value: Linear,
    /// Applied to the heads side by side, `[hidden, heads · head size]`.
    pub attention_output: Linear,
    /// After the attention.
    pub attention_norm: Norm,
    /// `[intermediate, hidden]`.
    pub intermediate: Linear,
    /// `[hidden, intermediate]`.
    pub output: Linear,
    /// After the feed-forward network.
    pub output_norm: Norm,
    /// The number of attention heads.
    pub heads: usize,
    /// Between the two linear layers of the feed-forward network.
    pub activation: Activation,
}

impl Linear {
    /// `x · weightᵀ + bias`, `[rows, inputs]` to `[rows, outputs]`.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        if !mode.fused || mode.precision != DType::F32 {
            return composed::linear(x, self, mode);
        }
        let rows = x.dim(0)?;
        let out = self.apply(&Values::of(x)?, mode)?;
        let (this, input, mode) = (self.clone(), x.detach(), *mode);
        attach("linear", x, out, (rows, self.outputs()), move |gradient| {
            let inputs = input.dim(1)?;
            let d_x = this.backward(&Values::of(&input)?, &Values::of(gradient)?, &mode)?;
            Tensor::from_vec(d_x, (rows, inputs), input.device()).map(Some)
        })
    }

    /// Width of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.bias.var().elem_count()
    }

    /// Hands the parameters their gradients and returns that of `x`.
    fn backward(&self, x: &[f32], gradient: &[f32], mode: &Mode) -> Result<Vec<f32>> {
        let (outputs, inputs) = self.weight.var().dims2()?;
        self.parameters_backward(&rows_seen(x, inputs, mode), gradient)?;
        let weight = self.weight_seen(mode)?;
        Ok(product(Matrix::new(gradient, outputs), Matrix::new(&weight, inputs)))
    }

    /// The weight as the forward pass sees it.
    fn weight_seen(&self, mode: &Mode) -> Result<Seen<'_>> {
        let inputs = self.weight.var().dim(1)?;
        let weight = self.weight.read()?;
        Ok(match mode.quantized {
            None => Seen::Stored(weight),
            Some(int8) => {
                Seen::Rounded(Rows::of_weights(&weight, inputs, int8.linear(self.site)).values())
            }
        })
    }

    fn parameters_backward(&self, x: &[f32], gradient: &[f32]) -> Result<()> {
        let (outputs, inputs) = self.weight.var().dims2()?;
        let d_weight = product(Matrix::new(gradient, outputs).t(), Matrix::new(x, inputs));
        self.weight.add_gradient(d_weight)?;
        self.bias.add_gradient(column_sums(gradient, outputs))
    }

    fn apply(&self, x: &[f32], mode: &Mode) -> Result<Vec<f32>> {
        let (weight, bias) = (self.weight.read()?, self.bias.read()?);
        Ok(match mode.quantized {
            None => linear(x, &weight, &bias),
            Some(int8) => quantized::linear(x, &weight, &bias, int8.linear(self.site)),
        })
    }
}

impl Norm {
    /// Hands the parameters their gradients and returns that of the sum before the norm.
    pub(super) fn backward(&self, gradient: Vec<f32>, saved: &norm::Saved) -> Result<Vec<f32>> {
        let gradients = norm::backward(gradient, saved, &self.gamma.read()?);
        self.gamma.add_gradient(gradients.gamma)?;
        self.beta.add_gradient(gradients.beta)?;
        Ok(gradients.x)
    }
}

/// What the backward pass of a block needs.
struct Saved {
    x: Tensor,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    context: Vec<f32>,
    attention_norm: norm::Saved,
    middle: Vec<f32>,
    before: Vec<f32>,
    activated: Vec<f32>,
    output_norm: norm::Saved,
}

impl Block {
    /// The next hidden states, `[rows, hidden]`; and, where `mode` asks for them, the attention
    /// probabilities, `[sentences, heads, tokens, tokens]` with zeros for the padding.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        mode: &Mode,
        site: u64,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let fused = mode.fused && mode.precision == DType::F32 && !mode.attention;
        if !fused || !matches!(self.activation, Activation::Gelu | Activation::Relu) {
            return composed::block(x, self, batch, mode, site);
        }
        let (rows, width) = x.dims2()?;
        let (out, saved) = self.forward_values(x, batch, mode, site)?;
        let (this, batch, mode) = (self.clone(), batch.clone(), *mode);
        let out = attach("encoder layer", x, out, (rows, width), move |gradient| {
            let d_x = this.backward_values(&saved, &batch, &mode, site, gradient)?;
            Tensor::from_vec(d_x, (rows, width), gradient.device()).map(Some)
        })?;
        Ok((out, None))
    }

    fn sentences<'a>(&self, batch: &'a Batch, mode: &Mode, site: u64) -> attention::Sentences<'a> {
        attention::Sentences {
            starts: &batch.starts,
            heads: self.heads,
            dropout: mode.dropout(site),
        }
    }

    fn forward_values(
        &self,
        x: &Tensor,
        batch: &Batch,
        mode: &Mode,
        site: u64,
    ) -> Result<(Vec<f32>, Saved)> {
        let width = self.query.outputs();
        let input = Values::of(x)?;
        let query = self.query.apply(&input, mode)?;
        let key = self.key.apply(&input, mode)?;
        let value = self.value.apply(&input, mode)?;
        let sentences = self.sentences(batch, mode, site);
        let context = if mode.quantized.is_some() && sentences.dropout.is_none() {
            let parts = [&*query, &*key, &*value];
            quantized::attention(sentences.starts, sentences.heads, parts, width)
        } else {
            attention::forward(&sentences, &query, &key, &value, width)
        };
        let attended = self.attention_output.apply(&context, mode)?;
        let (middle, attention_norm) =
            self.attention_norm.forward(attended, &input, mode, site + 1)?;
        let before = self.intermediate.apply(&middle, mode)?;
        let activated = match self.activation {
            Activation::Relu => before.iter().map(|x| x.max(0.0)).collect(),
            _ => gelu::forward(&before),
        };
        let fed = self.output.apply(&activated, mode)?;
        let (out, output_norm) = self.output_norm.forward(fed, &middle, mode, site + 2)?;
        let x = x.detach();
        let saved = Saved {
            x,
            query,
            key,
            value,
            context,
            attention_norm,
            middle,
            before,
            activated,
            output_norm,
        };
        Ok((out, saved))
    }

    fn backward_values(
        &self,
        saved: &Saved,
        batch: &Batch,
        mode: &Mode,
        site: u64,
        gradient: &Tensor,
    ) -> Result<Vec<f32>> {
        let (hidden, width) = (gradient.dim(1)?, self.query.outputs());
        let d_sum =
            self.output_norm.backward(Values::of(gradient)?.to_vec(), &saved.output_norm)?;
        let mut d_fed = d_sum.clone();
        mode.drop(&mut d_fed, site + 2);
        let mut d_inner = self.output.backward(&saved.activated, &d_fed, mode)?;
        match self.activation {
            Activation::Relu => {
                let off = d_inner.iter_mut().zip(&saved.before).filter(|(_, x)| **x <= 0.0);
                off.for_each(|(d, _)| *d = 0.0);
            }
            _ => gelu::backward(&mut d_inner, &saved.before),
        }
        let mut d_middle = self.intermediate.backward(&saved.middle, &d_inner, mode)?;
        add(&mut d_middle, &d_sum);

        let mut d_x = self.attention_norm.backward(d_middle, &saved.attention_norm)?;
        let mut d_attended = d_x.clone();
        mode.drop(&mut d_attended, site + 1);
        let d_context = self.attention_output.backward(&saved.context, &d_attended, mode)?;
        let sentences = self.sentences(batch, mode, site);
        let parts = attention::backward(
            &sentences,
            &saved.query,
            &saved.key,
            &saved.value,
            &d_context,
            width,
        );
        let x = Values::of(&saved.x)?;
        let x = rows_seen(&x, hidden, mode);
        for (linear, d) in [&self.query, &self.key, &self.value].into_iter().zip(&parts) {
            linear.parameters_backward(&x, d)?;
            add_product(
                &mut d_x,
                Matrix::new(d, width),
                Matrix::new(&linear.weight_seen(mode)?, hidden),
            );
        }
        Ok(d_x)
    }
}

impl Norm {
    /// `norm(residual + dropout(x))`, and what the backward pass needs.
    pub(super) fn forward(
        &self,
        x: Vec<f32>,
        residual: &[f32],
        mode: &Mode,
        site: u64,
    ) -> Result<(Vec<f32>, norm::Saved)> {
        let (gamma, beta) = (self.gamma.read()?, self.beta.read()?);
        let dropout = mode.dropout(site);
        let runtimes = (mode.quantized.is_some() && dropout.is_none()).then(|| {
            let (gamma, beta) = (gamma.to_vec(), beta.to_vec());
            let norm = graph::Norm { gamma, beta, epsilon: self.epsilon };
            quantized::add_norm(&x, residual, &norm)
        });
        let (out, saved) =
            norm::forward(x, residual, dropout.as_ref(), (&gamma, &beta, self.epsilon));
        Ok((runtimes.unwrap_or(out), saved))
    }
}
