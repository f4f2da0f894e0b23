"""Every number that a rule compares with, and where it comes from.

`healthy` are the runs of docs/log/doctor.md: nine of 240 generator steps, six families, two sets of videos.
"""

# ---- how long a run has to be --------------------------------------------------------------------------------------
LEAST_STEPS = 100  # generator steps: in fewer, players have not met yet; Adam's averages (0.999) take 1,000 to settle
LEAST_ROWS = 8  # logged rows of the second half: fewer are single batches, not a course
LEAST_EVALUATIONS = 3  # after step 0, for a course: two make a line whatever happens

# ---- warnings during training --------------------------------------------------------------------------------------
LIVE_FROM_STEPS = 200  # generator steps without a warning at the start, where everything looks wrong
LIVE_FROM_SHARE = 0.1  # of a training of known length, where that is more

# ---- diverged ------------------------------------------------------------------------------------------------------
EXPLODED = 1e3  # a loss or gradient norm of the last quarter over the median of the first: healthy at most 10
LARGE = 1e3  # and the value itself: what grows from 1e-4 to 0.1 has not exploded
ENORMOUS = 1e6  # a loss, in size: of what exploded in the first steps, and has no course any more
WEIGHTS_GREW = 30.0  # norm of a player's weights over its first logged one: healthy at most 1.2

# ---- G stands still ------------------------------------------------------------------------------------------------
NO_GRADIENT = 1e-8  # gradient norm of G: healthy at least 0.18; 0 behind a saturated tanh
SAME_WEIGHTS = 1e-6  # relative change of the norm of G's weights: float32 keeps 1e-7
SAME_VALUES = 2e-3  # relative change of every measure between any two evaluations: healthy at least 0.07

# ---- collapsed -----------------------------------------------------------------------------------------------------
NO_DIVERSITY = 0.1  # of real clips'; one clip repeated is 0, healthy at least 0.14

# ---- D has won -----------------------------------------------------------------------------------------------------
ALWAYS_RIGHT = 0.98  # d_separation, mean of the second half: 1/2 is chance; healthy 0.75 to 1.0: alone it says little
GAP_GROWS = 1.1  # difference of mean logits, last quarter over second quarter: healthy 0.3 to 4, nor does this
NOT_BETTER = 0.92  # best value of the second half over that of the first: above, G stands still; healthy 0.54 to 0.88

# ---- a translation that stayed a copy ------------------------------------------------------------------------------
COPY_GAIN_DB = 1.5  # |PSNR gain| over the untouched source: what learns gains 3 to 17 dB (docs/results.md); a copy -0.9
COPY_CHANGE = 0.25  # distance to the source over that of true counterparts, or of clips of the other domain
TAKEN_FOR_TARGET = 0.5  # share that the classifier takes for the target domain, of two: chance

# ---- flicker -------------------------------------------------------------------------------------------------------
MUCH_MOTION = 4.0  # of real clips'; the table of families (docs/results.md) has 1.2 to 2.4 where nothing flickers
MUCH_FLICKER = 6.0  # second difference, of real clips': healthy at most 4.2 but for a wall that stands still; noise 9
SETTLES = 0.75  # of the most flicker after step 0: below, it goes away by itself, a note
MUCH_MOTION_ALONE = 5.0  # where an older run has recorded no flicker

# ---- grid ----------------------------------------------------------------------------------------------------------
MUCH_GRID = 5.0  # energy at periods 2 and 4 over its surroundings, of real clips' (or the source's); healthy 1.0 to 3.7
MUCH_NYQUIST = 5.0  # nyquist_ratio of a translation: 0.3 to 1.6 without a grid, 10 to 20 with one (docs/results.md)

# ---- starved -------------------------------------------------------------------------------------------------------
MOSTLY_WAITING = 0.5  # share of the time that is waiting for data, first quartile of the second half: healthy to 0.2
SOME_WAITING = 0.3  # the same; what a training warns of

# ---- memorizing ----------------------------------------------------------------------------------------------------
NEARER = 0.6  # distance to the nearest training clip over that of held-out real clips: healthy 0.86 to 1.6
KNOWS_BY_HEART = 0.85  # share of pairs in which D prefers training clips to held-out ones: chance 1/2, healthy to 0.66
SEES_GENERATED = 0.85  # the same against generated clips: a D that knows nothing yet knows nothing by heart

# ---- too few clips -------------------------------------------------------------------------------------------------
FEW = 0.25  # clips over dimensions of the features: below, a covariance of that rank says little
FLOOR_SHARE = 0.2  # of the value that the floor alone makes up: healthy 0.01 to 0.08
FLOOR_RULES = 0.5  # the same, where clips are fewer than dimensions

# ---- still improving -----------------------------------------------------------------------------------------------
STILL_FALLS = 0.08  # fall of the leading measure over the last third of the run, of its value there
