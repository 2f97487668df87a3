"""Networks: ResNet-18 of any width, the identification network, the remover U-Net."""

from mulib.models.resnet import ResNet18, identifier, resnet18
from mulib.models.unet import Remover, remover
from mulib.models.weights import answer, copied, device_of, logits, reinitialise
