"""CodeContests for WMTP: the data set ``contest`` and the evaluator ``codecontests-v1``."""
