"""Face decoder (Fig. 4, Sect. 3.1): the joined codes → one face, looking back at the identity's maps through skips.

Convolution is linear: a convolution over [own maps, identity maps] is the sum of one over each. The decoder therefore
holds the two halves as two convolutions and computes the identity's half once a person (:meth:`FaceDecoder.prepare`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from speech2vid.models.identity_encoder import IdentityMaps
from speech2vid.models.network import he_initialise

UNEVEN = (2, 1, 2, 1)  # left, right, top, bottom

# Layer that reads a skip → the identity encoder's map it reads, and its channels at width 1 (Fig. 4; v201 is the 2017
# release).
SKIPS: dict[str, dict[str, tuple[str, int]]] = {
    "none": {},
    "paper": {"up5": ("conv2", 256), "up6": ("pool1", 96)},
    "v201": {"up5": ("conv2", 256), "up6": ("pool1", 96), "up7": ("conv1", 96)},
}


class UpsampleConv(nn.Module):
    """Bilinear ×2 (corners aligned), then a 3×3 convolution.

    Args:
        pads: (left, right, top, bottom) of the convolution.
        bias: False for the identity's half of a post-skip convolution; the other half has the bias.
    """

    def __init__(self, inputs: int, outputs: int, pads: tuple[int, int, int, int], bias: bool = True) -> None:
        super().__init__()
        even = len(set(pads)) == 1  # the convolution pads by itself
        self.pad = nn.Identity() if even else nn.ZeroPad2d(pads)
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=pads[0] if even else 0, bias=bias)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
        grown: Tensor = self.conv(self.pad(maps))
        return grown


class TransposedConv(nn.Module):
    """The paper's other way up: a 3×3 transposed convolution of stride 2, cropped or extended to the same output size.

    Args as for :class:`UpsampleConv`; a map of side n becomes 2n + pads − 2 in each direction.
    """

    def __init__(self, inputs: int, outputs: int, pads: tuple[int, int, int, int], bias: bool = True) -> None:
        super().__init__()
        # Uncut, it is 2n + 1; the table wants 2n − 2 + (left + right): cut evenly, and give back one if that is odd.
        surplus = 3 - (pads[0] + pads[1])
        cut = (surplus + 1) // 2
        self.conv = nn.ConvTranspose2d(
            inputs, outputs, 3, stride=2, padding=cut, output_padding=2 * cut - surplus, bias=bias
        )

    def forward(self, maps: Tensor) -> Tensor:
        grown: Tensor = self.conv(maps)
        return grown


class FaceDecoder(nn.Module):
    """Codes (N, 512 · width) float32 → faces (N, 3, 109, 109) float32 RGB in [0, 1].

    Args:
        width: factor on all channel counts; 1 is the paper's.
        skips: ``paper`` (conv2, pool1), ``v201`` (and conv1), or ``none``.
        rise: the layer that doubles the size.
        norm: batch norm after ``fc`` and ``up1`` … ``up5``, before an identity half is added. The 2017 release has
            none in the decoder; without it the maps that carry the audio code shrink next to the identity's.
    """

    def __init__(
        self,
        width: float = 1.0,
        skips: str = "paper",
        rise: type[UpsampleConv] | type[TransposedConv] = UpsampleConv,
        norm: bool = False,
    ) -> None:
        super().__init__()
        c32, c64, c96, c128, c256, c512 = (int(channels * width) for channels in (32, 64, 96, 128, 256, 512))
        even, none = (1, 1, 1, 1), (0, 0, 0, 0)
        self.fc = nn.Conv2d(c512, c128, 1)  # 1
        self.up1 = rise(c128, c128, even)  # 2
        self.up2 = rise(c128, c256, even)  # 4
        self.up3 = rise(c256, c512, none)  # 6
        self.up4 = rise(c512, c256, even)  # 12
        self.up5 = rise(c256, c256, even)  # 24
        self.conv5 = nn.Conv2d(c256, c96, 5, padding=3)  # 26
        self.up6 = rise(c96, c96, UNEVEN)  # 53
        self.up7 = rise(c96, c64, UNEVEN)  # 107
        self.conv8 = nn.Sequential(nn.ZeroPad2d(UNEVEN), nn.Conv2d(c64, c32, 3))  # 108
        self.conv9 = nn.Sequential(nn.ZeroPad2d(UNEVEN), nn.Conv2d(c32, 3, 3))  # 109
        outputs = {"up5": (c256, even), "up6": (c96, UNEVEN), "up7": (c64, UNEVEN)}
        self.skips = {layer: name for layer, (name, _) in SKIPS[skips].items()}
        self.identity_halves = nn.ModuleDict(
            {
                layer: rise(int(channels * width), *outputs[layer], bias=False)
                for layer, (_, channels) in SKIPS[skips].items()
            }
        )
        channels = {"fc": c128, "up1": c128, "up2": c256, "up3": c512, "up4": c256, "up5": c256}
        self.norms = nn.ModuleDict({layer: nn.BatchNorm2d(size) for layer, size in channels.items()} if norm else {})
        he_initialise(self)
        for layer in self.skips:  # two halves sum to one convolution: each carries half of the variance
            for half in (getattr(self, layer), self.identity_halves[layer]):
                half.get_parameter("conv.weight").data.mul_(0.5**0.5)
        self.conv9.get_parameter("1.weight").data.mul_(0.1)  # start near grey, where the sigmoid is steep

    def prepare(self, identity: IdentityMaps) -> dict[str, Tensor]:
        """The identity's share of each post-skip convolution, by layer name: all that decoding needs of a person."""
        return {layer: half(getattr(identity, self.skips[layer])) for layer, half in self.identity_halves.items()}

    def forward(self, code: Tensor, prepared: Mapping[str, Tensor]) -> Tensor:
        """Decode.

        Args:
            code: (N, 512 · width), audio code then identity code.
            prepared: from :meth:`prepare`, N persons, or one for all.
        """
        maps = code[:, :, None, None]
        for layer in ("fc", "up1", "up2", "up3", "up4", "up5", "conv5", "up6", "up7", "conv8"):
            maps = getattr(self, layer)(maps)
            if layer in self.norms:
                maps = self.norms[layer](maps)
            if layer in self.skips:
                maps = maps + prepared[layer]
            maps = maps.relu()
        faces: Tensor = self.conv9(maps).sigmoid()
        return faces
