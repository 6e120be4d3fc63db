"""The examiner of jobs that outlive their leader: random jobs on real peers that die, freeze and come back."""
