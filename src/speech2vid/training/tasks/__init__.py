"""Training tasks: settings, data, loss and validation of each network, one task a file.

A new task is one file here and one line in ``TASKS``.
"""

from speech2vid.training.task import Task
from speech2vid.training.tasks.audio_encoder import AudioEncoderTask
from speech2vid.training.tasks.audio_to_mouth import AudioToMouthTask
from speech2vid.training.tasks.head_motion import HeadMotionTask
from speech2vid.training.tasks.identity import IdentityTask
from speech2vid.training.tasks.mouth_landmarks import MouthLandmarksTask
from speech2vid.training.tasks.paper_redubber import PaperRedubberTask
from speech2vid.training.tasks.paper_talker import PaperTalkerTask
from speech2vid.training.tasks.sharpener import SharpenerTask
from speech2vid.training.tasks.sync import SyncTask
from speech2vid.training.tasks.warp_redubber import WarpRedubberTask
from speech2vid.training.tasks.warp_talker import WarpTalkerTask

_IN_ORDER: tuple[type[Task], ...] = (  # in which they are trained: each after the tasks that it may start from
    MouthLandmarksTask,
    WarpTalkerTask,
    AudioToMouthTask,
    HeadMotionTask,
    IdentityTask,
    AudioEncoderTask,
    PaperTalkerTask,
    SharpenerTask,
    SyncTask,
    WarpRedubberTask,
    PaperRedubberTask,
)
TASKS: dict[str, type[Task]] = {task.name: task for task in _IN_ORDER}
