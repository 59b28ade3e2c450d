"""Give up trials that are far behind the best one, as an Optuna pruner."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

# A trial is judged from here on: started from singular vectors, a fit is near its end by then.
FIRST_JUDGED = 2


def far_behind(share: float) -> optuna.pruners.BasePruner:
    """Return a pruner of trials whose newest recall is below this share of the best trial's.

    Optuna's median pruner would stop half of the trials once TPE has found the good corner, where
    all are close to each other.
    """
    import optuna

    class FarBehind(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            step = trial.last_step
            if step is None or step < FIRST_JUDGED:
                return False
            complete = (optuna.trial.TrialState.COMPLETE,)
            values = [t.value or 0.0 for t in study.get_trials(deepcopy=False, states=complete)]
            return trial.intermediate_values[step] < share * max(values, default=0.0)

    return FarBehind()
