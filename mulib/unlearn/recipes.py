"""The papers' recipes, each named once; what a method does otherwise stands in its signature."""

from __future__ import annotations

from mulib.recipe import Recipe

# Krähenmann et al., *Forget with Precision*, 2023: most of its methods end so, its networks are trained so on CIFAR-10,
# and copies of them are made to overfit so.
FORGET_WITH_PRECISION = Recipe(epochs=5, lr=1e-3)
TRAINING = FORGET_WITH_PRECISION.but(epochs=100, lr=0.1, schedule=(35, 70, 90))
OVERFITTING = FORGET_WITH_PRECISION.but(epochs=20, lr=1e-2)

# Choi and Na, *Towards Machine Unlearning Benchmarks*, 2023, and Choi et al., *Guided Loss-Increasing*, 2024, as
# released for MUFAC: plain gradient descent.
MUFAC = Recipe(epochs=2, lr=1e-3, batch_size=64, momentum=0.0, weight_decay=0.0)

# Jia et al., *Model Sparsity Can Simplify Machine Unlearning*, 2023, as released for CIFAR-10.
SPARSE = Recipe(epochs=10, lr=0.01, batch_size=256)

# Fan et al., *SalUn*, 2024, the released defaults for classification.
SALIENT = Recipe(epochs=10, lr=0.01, batch_size=256)

# Foster et al., *Selective Synaptic Dampening*, 2024: batches of the passes that its gradients come from; no training.
DAMPENING = Recipe(epochs=1, lr=0.1, batch_size=64)

# Masked small gradients, as Cadet et al., *Deep Unlearn*, 2024, released it.
MASKED = Recipe(epochs=5, lr=1e-3, batch_size=64, schedule="onecycle")

# Xu et al., *Don't Forget Too Much*, 2024: the remover's game for one feature, and finetuning on blanked images.
REMOVER = Recipe(epochs=50, lr=5e-6, batch_size=36, weight_decay=1e-6, optimiser="adam")
BLANKED = Recipe(epochs=2, lr=1e-3, weight_decay=0.0, optimiser="adam")
