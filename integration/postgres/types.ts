/** A real PostgreSQL. */
export interface RunningPostgres {
  readonly provider: "external" | "native";
  /** As the server says. */
  readonly version: string;
  /** For any client. The user may make tables. */
  readonly url: string;
  /** Ends all connections; the data stay. Absent where the server is not ours to stop. */
  readonly restart?: () => Promise<void>;
  /** Stops it and removes its data. An external one is left alone. May be called twice. */
  stop(): Promise<void>;
}
