"""Jobs: commands of the workbench that run on their own, watched, cancelled and resumed through files."""

from workbench.jobs.folder import cancel, jobs_in, read_job, resume, start
from workbench.jobs.records import Job, JobSpec, JobStatus

__all__ = ["Job", "JobSpec", "JobStatus", "cancel", "jobs_in", "read_job", "resume", "start"]
