"""The published wheels that contain an interpreter: data, pinned by name, version and SHA-256.

The wheels of ``freeze-core`` contain, in ``freeze_core/bases``, the CPython of the manylinux and musllinux images, with
its extension modules in ``freeze_core/lib`` and their libraries in ``freeze_core.libs``.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.model import Platform

#: Distribution and version of all wheels below.
DISTRIBUTION = "freeze-core"
VERSION = "0.8.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedInterpreter:
    """A wheel that contains an interpreter.

    :param version: of CPython: major, minor, micro.
    :param free_threaded: whether it is the free-threaded build.
    :param architecture: as in platform tags.
    :param libc: ``glibc`` or ``musl``.
    :param sha256: digest of the wheel, hexadecimal.
    """

    version: tuple[int, int, int]
    free_threaded: bool
    architecture: str
    libc: str
    sha256: str

    @property
    def abi(self) -> str:
        """The ABI tag of the wheel, such as ``cp314t``."""
        return f"cp{self.version[0]}{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def stem(self) -> str:
        """The version in names of files, such as ``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def platform(self) -> Platform:
        """The platform that it runs on."""
        return Platform(system="linux", architecture=self.architecture, libc=self.libc)

    @property
    def platform_tag(self) -> str:
        """The platform tag of the wheel."""
        return f"{'musllinux_1_2' if self.libc == 'musl' else 'manylinux_2_17'}_{self.architecture}"

    @property
    def wheel(self) -> pinned.PinnedWheel:
        """The wheel on the package index."""
        return pinned.PinnedWheel(
            distribution=DISTRIBUTION,
            version=VERSION,
            python=".".join(map(str, self.version[:2])),
            abi=self.abi,
            platform=self.platform_tag,
            sha256=self.sha256,
        )


def _published(
    minor: int, micro: int, threading: str, architecture: str, libc: str, sha256: str
) -> PublishedInterpreter:
    return PublishedInterpreter(
        version=(3, minor, micro),
        free_threaded=threading == "t",
        architecture=architecture,
        libc=libc,
        sha256=sha256,
    )


#: All wheels: x86_64 first, glibc before musl, by version.
PUBLISHED = (
    _published(11, 17, "", "x86_64", "glibc", "d591bc9d7367c88d57340a77dc28647065930588ff210c486db37b6e089b349d"),
    _published(12, 15, "", "x86_64", "glibc", "4cf1315685926e298870d1b1504e2b9e676e047b6084d02c3d1e9e1ec11c3d0a"),
    _published(13, 17, "", "x86_64", "glibc", "3e0b5575db49fa6437d426f32cfaada9ffe69e2eba69f66a62b5d665d51828c0"),
    _published(14, 9, "", "x86_64", "glibc", "2500ef546af0c26e30cc8630be353fa02c9ff46d009b76d6d15e79288140d7e6"),
    _published(14, 9, "t", "x86_64", "glibc", "b8547956f9cbeabaae9cc758bbc65531962c3fb4fa0c2431c802089e7ea86cca"),
    _published(15, 1, "", "x86_64", "glibc", "6b28139d5cfea4cf8712b4745ff78e2892d41f33c90437efddf1ae6eaaba11cf"),
    _published(15, 1, "t", "x86_64", "glibc", "a1c31d6740d6d7ae858ab9e02231928cd49ee5f68d7980a8760b65f333c48890"),
    _published(11, 17, "", "x86_64", "musl", "eb51479b406e8808c77393fcc5792d7af5f1df4c7a23df839ef55df8c5e6bd6a"),
    _published(12, 15, "", "x86_64", "musl", "b89dfef01e541b3e859d211bc3911919b8da84f66dec8f7c2bb910800ee1cd9a"),
    _published(13, 17, "", "x86_64", "musl", "8caba196a718a50b767f8450e79c7788062025e96ae4f7f2ea40f5b5c97cbbfa"),
    _published(14, 9, "", "x86_64", "musl", "0f42655406fbce99983781b35cb49113dd8bb867e270916ed94ffaa3d534973f"),
    _published(14, 9, "t", "x86_64", "musl", "9160f3161847ab12d4301c323982b7f696232fc032e8c4000b66f2a02c57719e"),
    _published(15, 1, "", "x86_64", "musl", "43b313e597579373af734f26b40486e4e979bfdc3db8e81fdaf681affc41163e"),
    _published(15, 1, "t", "x86_64", "musl", "f13d671ad9b14200b5aa38012db93598a34906f72c48e01ad2f5dad5d5f3a9bc"),
    _published(11, 17, "", "aarch64", "glibc", "a7931822bb5330809a009ba4d7d8c5e9b7bd851bfaee961a19eba1e7a0cd752d"),
    _published(12, 15, "", "aarch64", "glibc", "ed0f3772acacb78ccf76386279f257e049239e0f0cb05b6f67a96ed15f2910a8"),
    _published(13, 17, "", "aarch64", "glibc", "72445a63d29edc450bc4044282e9e5e3b9f6878b0e6fcc3c4104bce3d3f4e419"),
    _published(14, 9, "", "aarch64", "glibc", "8e7f1469a81fface7e779f869fa138b2e7b09bf0874cc35255fbb91f428b6103"),
    _published(14, 9, "t", "aarch64", "glibc", "17ccfba37e9c2daf17b77dee584e1202145abbe8a9eb81ba4abb07c2b6054814"),
    _published(15, 1, "", "aarch64", "glibc", "4a54ebea40a7ae77b81862fd5f8d4f8f3e67bbfd475e6083f21eaf82b6b8b034"),
    _published(15, 1, "t", "aarch64", "glibc", "3768d4c979bfcd302f93a1a17f61cd2a8143dd0bf86e2a9929aa5fe3a2aa978b"),
    _published(11, 17, "", "aarch64", "musl", "bfd6f698ff58768fd0470b8d8875eea6c29f2c4f1458c7a4ad80e391a0900b0f"),
    _published(12, 15, "", "aarch64", "musl", "77e0409430cae8b5c87df43afad1a79d6afa5b42b509ecabc8be179adece46d8"),
    _published(13, 17, "", "aarch64", "musl", "1ceb728eed449daf07123a5603f97d5e2b03fa50d84bed06deda60313569aba5"),
    _published(14, 9, "", "aarch64", "musl", "4ca945e269686bbe97537fda999d621ec098476cb290ff7823ab10b4e3a86d0f"),
    _published(14, 9, "t", "aarch64", "musl", "a03a0939d95843001c6602e030afc9c01b4a54dfa5c6d6e9317c2ae048e7e9c2"),
    _published(15, 1, "", "aarch64", "musl", "f8149c552e9d53bccad6bf24bbb1016a09de3ef65d7a0daa2bc6371221c47681"),
    _published(15, 1, "t", "aarch64", "musl", "efd0d810870c04ab4e203c74325331f6aa1bb10ec802c555bff75593fb989323"),
    _published(11, 17, "", "ppc64le", "glibc", "4176528339b60d17b13e6858f48c52769e0ef5a2d24bb9ebcd0bf9b9922f6217"),
    _published(12, 15, "", "ppc64le", "glibc", "1ac11f1739182eafd5bf648ac1fbf688470c09bd9a69293979948b0a5fcd901f"),
    _published(13, 17, "", "ppc64le", "glibc", "de34b34f989880b8a0f4d6fb75fee8efe9cbdf9c48f9f57f059df4ac47073873"),
    _published(14, 9, "", "ppc64le", "glibc", "feab14a54f680701ac966168759565510952622b5036876a61f2d3b2db61d15b"),
    _published(14, 9, "t", "ppc64le", "glibc", "18c4cdef374898eb8d33a481e24c117b16ea7a7b6446ec6ab7d10d00fc28d521"),
    _published(15, 1, "", "ppc64le", "glibc", "c68c1c72df45dbfd6048dd7ec7474c1763702de13512cc3dc130908c3845c7f5"),
    _published(15, 1, "t", "ppc64le", "glibc", "021ed155e26080968547ffb47658939f589c517b88c14da2001de66842b08be6"),
)
