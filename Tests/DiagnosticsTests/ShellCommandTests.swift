import Diagnostics
import Testing

@Suite struct ShellCommandTests {
  @Test func `plain words stay as they are`() {
    let words = ["descent", "train", "--run-dir", "runs/a@best_2", "--l2", "1e-07", "bsp:backup=2"]
    #expect(shellCommand(words) == "descent train --run-dir runs/a@best_2 --l2 1e-07 bsp:backup=2")
  }

  @Test func `a word that a shell would change is quoted`() {
    let words = ["a run", "", "$HOME", "it's", "ä", "~/x", "a*"]
    #expect(shellCommand(words) == #"'a run' '' '$HOME' 'it'\''s' 'ä' '~/x' 'a*'"#)
  }
}
