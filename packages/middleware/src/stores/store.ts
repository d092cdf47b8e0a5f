/** Whether a run of the handler may begin. */
export type Acquired =
  | { readonly state: "acquired" }
  /** A run was recorded as completed, and its record has not expired. */
  | { readonly state: "completed" }
  /** Somebody else holds the lock, for so many milliseconds more unless it is renewed. */
  | { readonly state: "locked"; readonly forMs: number };

/**
 * Where `idempotent` keeps what runs and what is completed. Each call is atomic, also between processes, and measures time by a
 * clock that all of them share: the server's. Whatever it rejects with means that nobody knows whether the call happened; the same
 * call by the same owner may follow, and must then come to the same. It must not retry: the subscription does.
 */
export interface IdempotencyStore {
  /** Takes the lock for `lockMs`, unless the key is completed or another owner's lock lives. The owner of a lock gets it again. */
  acquire(key: string, owner: string, lockMs: number): Promise<Acquired>;
  /** Extends the owner's lock to `lockMs` from now. False: it is not the owner's any more, or it expired. */
  renew(key: string, owner: string, lockMs: number): Promise<boolean>;
  /** Turns the owner's lock into the record that the key is completed, for `ttlMs`. False: it is not the owner's any more, or it expired. */
  complete(key: string, owner: string, ttlMs: number): Promise<boolean>;
  /** Gives the owner's lock back. Nothing happens when it is not the owner's. */
  release(key: string, owner: string): Promise<void>;
}
