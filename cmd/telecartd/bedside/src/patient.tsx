// Patient: who it is. A scan does it on any screen; typing is the second way, two identifiers the third.

import { useState } from "preact/hooks";
import type { Kind } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, Confirm, ProblemLine, StateView } from "../../../ui/components.tsx";
import { viewState } from "./states.ts";
import { patientWords } from "./strip.tsx";
import { Typing } from "./typing.tsx";
import type { ViewProps } from "./view.ts";

/** What was observed of the patient, and not said about the encounter. */
function observed(k: Kind): boolean {
  return k !== "event" && k !== "binding" && k !== "correction";
}

const birthDate = /^\d{4}-\d\d-\d\d$/;

export function PatientView(p: ViewProps) {
  const w = useWords();
  const cmd = useCommand();
  const [typing, setTyping] = useState<"code" | "two">();
  const [code, setCode] = useState("");
  const [name, setName] = useState("");
  const [birth, setBirth] = useState("");
  const forced = p.forced ?? viewState("patient", p.s);
  if (forced) return <StateView state={forced} />;
  const back = (): void => {
    setTyping(undefined);
    cmd.clear();
  };
  const send = (verb: string, args: Record<string, unknown>): void =>
    void cmd.run(async () => {
      await p.cart.command(verb, args);
      back();
      setCode("");
    });

  if (typing === "code") {
    return (
      <Typing
        title={w.t("patient.type")}
        fields={[{ name: "code", label: w.t("patient.code"), value: code, start: "symbols" }]}
        onChange={(_, v) => setCode(v)}
        done={w.t("patient.bind")}
        doneTestid="btn-bind"
        off={cmd.busy || code.trim() === ""}
        onDone={() => send("scan", { code: code.trim() })}
        onBack={back}
      >
        <ProblemLine problem={cmd.problem} />
      </Typing>
    );
  }
  if (typing === "two") {
    const bad = birth.length >= 8 && !birthDate.test(birth);
    return (
      <Typing
        title={w.t("patient.two")}
        fields={[
          { name: "name", label: w.t("patient.name"), value: name, start: "letters" },
          { name: "birth", label: w.t("patient.birth"), value: birth, start: "symbols" },
        ]}
        onChange={(f, v) => (f === "name" ? setName(v) : setBirth(v))}
        done={w.t("patient.bind")}
        doneTestid="btn-bind"
        off={cmd.busy || name.trim() === "" || !birthDate.test(birth)}
        onDone={() => send("bind", { patient: { id: "", name: name.trim(), birth_date: birth } })}
        onBack={back}
      >
        {bad && <p class="problem">{w.t("patient.birth.bad")}</p>}
        <ProblemLine problem={cmd.problem} />
      </Typing>
    );
  }

  const e = p.s.encounter;
  return (
    <div class="task-view patient-view" data-testid="view-patient">
      <div class="col grow card who-card">
        {p.s.patient ? (
          <>
            <h1 class="who-name">{p.s.patient.name ?? w.t("strip.id", { id: p.s.patient.id })}</h1>
            <p class="lead">{patientWords(w, p.s.patient)}</p>
            <p>{w.t(`strip.by.${p.s.patient.source}`)}</p>
            <p class="muted">{w.t("patient.not")}</p>
          </>
        ) : (
          <>
            <h1 class="who-name">{w.t("patient.title")}</h1>
            <p class="lead">{w.t("patient.scan")}</p>
            {e && <p>{w.t("patient.unbound")}</p>}
          </>
        )}
        {e && (
          <p class="muted">
            {w.t("patient.open.since", { time: w.time(e.opened) })}. {w.t(e.restored ? "patient.items.restored" : "patient.items", { n: p.s.items.filter((i) => observed(i.kind)).length })}.
          </p>
        )}
        <ProblemLine problem={cmd.problem} />
      </div>
      <div class="col side-buttons">
        {!p.s.patient && (
          <>
            <Button testid="btn-type-code" onPress={() => setTyping("code")}>
              {w.t("patient.type")}
            </Button>
            <Button testid="btn-two-identifiers" onPress={() => setTyping("two")}>
              {w.t("patient.two")}
            </Button>
          </>
        )}
        {!e && (
          <>
            <Button testid="btn-open" off={cmd.busy} onPress={() => send("open", { practice: false })}>
              {w.t("patient.unidentified")}
            </Button>
            <Button testid="btn-practice" off={cmd.busy} onPress={() => send("open", { practice: true })}>
              {w.t("patient.practice")}
            </Button>
          </>
        )}
        {e && (
          <>
            <Button testid="btn-go-capture" look="primary" onPress={() => p.go("capture")}>
              {w.t("task.capture")}
            </Button>
            <Confirm
              testid="btn-close"
              text={w.t("patient.next")}
              what={w.t("patient.close.what")}
              sure={w.t("patient.close.sure")}
              off={cmd.busy}
              onSure={() => send("close", {})}
            />
          </>
        )}
      </div>
    </div>
  );
}
