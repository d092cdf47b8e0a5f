/** What a subscription has done so far; part of `health()`. */
export interface Counters {
  /** Deliveries taken in. */
  received: number;
  done: number;
  /** Failed runs that were tried again, here or through the own entry. */
  retried: number;
  deferred: number;
  deadLettered: number;
  /** Dropped on purpose, expired, or used up without a dead letter. */
  dropped: number;
  filtered: number;
  /** Given to another holder while we had them: they run again somewhere. */
  lost: number;
  /** Given back unhandled. */
  returned: number;
  /** Runs that ended after their time limit; their result was refused. */
  late: number;
  /** Runs that never ended within twice their time limit, now. */
  stuck: number;
}

export function newCounters(): Counters {
  return {
    received: 0,
    done: 0,
    retried: 0,
    deferred: 0,
    deadLettered: 0,
    dropped: 0,
    filtered: 0,
    lost: 0,
    returned: 0,
    late: 0,
    stuck: 0,
  };
}
