//! One encoder layer, trained: the fast form for the CPU, and the choice between it and the composed one.

use super::attach::attach;
use super::kernels::matmul::{Matrix, add_product};
use super::kernels::{add, attention, gelu, norm};
use super::layers::Block;
use super::parameter::Values;
use super::quantized::{self, rows_seen};
use super::{Batch, Mode, trace};
use candle_core::{DType, Result, Tensor};
use edge_runtime::graph::Activation;

/// Values of the forward pass that the backward pass of a block needs.
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
    /// Returns the next hidden states, `[rows, hidden]`, and, if `mode` requests them, the
    /// attention probabilities, `[sentences, heads, tokens, tokens]` with zeros for the padding.
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
            return trace::block(x, self, batch, mode, site);
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
