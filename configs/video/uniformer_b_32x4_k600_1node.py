_base_ = ["./uniformer_b_32x4_k600.py"]

# The authors' settings for one node of eight GPUs, for which they state more than a month on A100s.
# They published no weights of it.
optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = dict(warmup_lr=1e-6, eta_min=1e-6)
auto_scale_lr = dict(base_batch_size=32)
