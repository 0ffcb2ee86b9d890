class Podsync < Formula
  desc "Peer-to-peer snapshots of LocalStack's state"
  homepage "https://github.com/podsync/podsync"
  version "{version}"
  license any_of: ["Apache-2.0", "MIT"]

  depends_on :linux

  on_linux do
    {on_machine} do
      url "{url}"
      sha256 "{sha256}"
    end
  end

  def install
    bin.install "bin/podsync"
    man1.install Dir["share/man/man1/*"]
    bash_completion.install "share/bash-completion/completions/podsync"
    zsh_completion.install "share/zsh/vendor-completions/_podsync"
    fish_completion.install "share/fish/vendor_completions.d/podsync.fish"
    doc.install Dir["share/doc/podsync/*"]
  end

  test do
    assert_equal "podsync {version}", shell_output("#{bin}/podsync --version").strip
  end
end
