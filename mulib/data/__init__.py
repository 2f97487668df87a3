"""Data: tasks and requests, readers of real data sets, the leak check, and where data is found."""

from mulib.data.digits import digits, mislabelled
from mulib.data.download import fetch, find
from mulib.data.logits import Logits, write_logits
from mulib.data.readers.ages import agedb, utkface
from mulib.data.readers.celeba import celeba, mucac
from mulib.data.readers.cifar import cifar10
from mulib.data.readers.imagenet import imagenet
from mulib.data.readers.mufac import mufac
from mulib.data.readers.table import table
from mulib.data.sets import ImageSet, Request, Task
from mulib.data.splits import by_coin
from mulib.data.targets import only
