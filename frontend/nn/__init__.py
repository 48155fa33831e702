"""Networks: functions and losses made of primitive operations, and layers, which are modules with variables."""

from __future__ import annotations

from dfc.frontend.nn import initializers
from dfc.frontend.nn.activations import (
    clip,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    log_softmax,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    silu,
    softmax,
    softsign,
    swish,
)
from dfc.frontend.nn.attention import MultiHeadAttention, dot_product_attention
from dfc.frontend.nn.config import Net, from_config
from dfc.frontend.nn.ctc import ctc_loss
from dfc.frontend.nn.dropout import Dropout, dropout
from dfc.frontend.nn.embedding import embedding_lookup, log_uniform_candidate_sampler, sampled_softmax_loss
from dfc.frontend.nn.layers import Dense, Embedding, Flatten, Sequential
from dfc.frontend.nn.losses import (
    hinge_loss,
    huber_loss,
    kl_divergence,
    l2_loss,
    mean_absolute_error,
    mean_squared_error,
    sigmoid_cross_entropy,
    smooth_labels,
    softmax_cross_entropy,
    sparse_softmax_cross_entropy,
)
from dfc.frontend.nn.normalization import batch_norm, group_norm, layer_norm, rms_norm
from dfc.frontend.nn.recurrent import GRUCell, LSTMCell, rnn
from dfc.frontend.nn.vision import AvgPool, BatchNorm, Conv, ConvTranspose, LayerNorm, MaxPool
from dfc.frontend.ops.convolution import conv, conv_transpose, depthwise_conv
from dfc.frontend.ops.logarithm import log_sigmoid, softplus
from dfc.frontend.ops.window import avg_pool, global_avg_pool, global_max_pool, local_response_norm, max_pool

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "MaxPool",
    "MultiHeadAttention",
    "Net",
    "Sequential",
    "avg_pool",
    "batch_norm",
    "clip",
    "conv",
    "conv_transpose",
    "ctc_loss",
    "depthwise_conv",
    "dot_product_attention",
    "dropout",
    "elu",
    "embedding_lookup",
    "from_config",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "glu",
    "group_norm",
    "hard_sigmoid",
    "hard_swish",
    "hinge_loss",
    "huber_loss",
    "initializers",
    "kl_divergence",
    "l2_loss",
    "layer_norm",
    "leaky_relu",
    "local_response_norm",
    "log_sigmoid",
    "log_softmax",
    "log_uniform_candidate_sampler",
    "max_pool",
    "mean_absolute_error",
    "mean_squared_error",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rnn",
    "sampled_softmax_loss",
    "selu",
    "sigmoid_cross_entropy",
    "silu",
    "smooth_labels",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "softsign",
    "sparse_softmax_cross_entropy",
    "swish",
]
